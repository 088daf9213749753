#!/bin/sh
# Leaves a grandchild in a session of its own, which nobody here is the parent of, and then repeats what it hears. Who
# they are is written into the folder that is named, and so is what was heard.
folder=$1
setsid -f sh -c "echo \$\$ >>'$folder/family'; exec sleep 1000" </dev/null >/dev/null 2>&1
echo $$ >>"$folder/family"
exec tee -a "$folder/said"
