#!/bin/sh
# Starts a program that was built where the job was submitted: launch.sh PROGRAM [ARGUMENT...]
program=$1
shift
# {torch}
# The upload keeps no permissions.
if [ ! -x "$program" ] && ! chmod +x "$program" 2>/dev/null; then
    copy=$(mktemp) && cp "$program" "$copy" && chmod +x "$copy" && program=$copy
fi
exec "$program" "$@"
