// Redirects the links that MLflow's client prints to the pages. Browsers do not send the part after
// the `#` to the server.
const [, experiment, run] = location.hash.match(/^#\/experiments\/([^/?]+)(?:\/runs\/([^/?]+))?/) ?? [];
if (run) location.replace(`/studio/jobs/${run}`);
else if (experiment) location.replace(`/studio/experiments/${experiment}`);
else location.replace("/studio/jobs");
