#!/bin/sh
# Starts descendants that hide in different ways, says who they are, and waits for ever.
trap '' TERM
sleep 1000 &
echo $!
nohup sleep 1000 >/dev/null 2>&1 &
echo $!
# In a session of its own, and a child of nobody of ours.
setsid -f sh -c 'echo $$; exec sleep 1000'
# The same, and it has started others in turn.
setsid -f sh -c 'sleep 1000 & echo $!; echo $$; trap "" TERM; wait'
# Without the environment that it was started with.
env -i sleep 1000 &
echo bare $!
echo $$
while :; do sleep 1; done
