//! Comms. The kernel offers no targets, so each attempt to open one is answered by closing it.

use serde_json::json;

use super::channel::Request;
use super::kernel::Kernel;
use crate::protocol::content::CommMessage;

/// `comm_info_request`.
pub fn info(request: &Request) {
    request.reply(&json!({ "status": "ok", "comms": {} }));
}

/// `comm_open`, `comm_msg` and `comm_close`.
pub fn message(kernel: &Kernel, request: &Request, content: &CommMessage) {
    if request.message.header.msg_type == "comm_open" {
        kernel.iopub.publish(
            Some(&request.message.parent),
            "comm_close",
            &json!({ "comm_id": content.comm_id, "data": {} }),
        );
    }
}
