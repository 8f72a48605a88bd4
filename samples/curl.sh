# Aglow with curl, to run (bash samples/curl.sh) or to paste. Start a server first: ./aglow serve
AGLOW="${AGLOW_URL:-http://127.0.0.1:8080}"
JSON='Content-Type: application/json'
name="alice-$RANDOM$RANDOM"

# user 42 is alive: one heartbeat every ten seconds keeps them online, thirty seconds without one make them offline
curl -sS --fail-with-body -w '\n' "$AGLOW/heartbeat" -H "$JSON" -d '{"user_id": 42}'

# many users at once, with integers and strings as IDs; they also did something just now
curl -sS --fail-with-body -w '\n' "$AGLOW/heartbeat" -H "$JSON" -d '{"user_ids": [7, "bob"], "active": true}'

# is 42 online, and when were they last seen?
curl -sS --fail-with-body -w '\n' "$AGLOW/status/42"

# many users at once: in the query, and as a list; the answer has their order; 99 was never seen
curl -sS --fail-with-body -w '\n' "$AGLOW/status/users?ids=42,bob,99"
curl -sS --fail-with-body -w '\n' "$AGLOW/status/batch" -H "$JSON" -d '{"user_ids": [99, "bob", 42]}'

# seen within a day, online or not
curl -sS --fail-with-body -w '\n' "$AGLOW/status/42?definition=reachable"

# a profile (without "user_id", the user name is the ID), another display name, and a search
curl -sS --fail-with-body -w '\n' "$AGLOW/users" -H "$JSON" -d "{\"user_name\": \"$name\", \"display_name\": \"Alice\"}"
curl -sS --fail-with-body -w '\n' -X PATCH "$AGLOW/users/$name" -H "$JSON" -d '{"display_name": "Alice L."}'
curl -sS --fail-with-body -w '\n' "$AGLOW/users?q=alice&limit=3"

# alice follows 42 and bob, and gets their changes on every connection
curl -sS --fail-with-body -w '\n' "$AGLOW/users/$name/subscriptions" -H "$JSON" -d '{"user_ids": [42, "bob"]}'

# bob is busy, whatever his devices say
curl -sS --fail-with-body -w '\n' -X PUT "$AGLOW/users/bob/status" -H "$JSON" -d '{"status": "busy"}'

# changes as they happen, here for four seconds; in the meantime 42 leaves
(sleep 2; curl -sS --fail-with-body -o /dev/null "$AGLOW/offline" -H "$JSON" -d '{"user_id": 42}') &
curl -sSN --fail-with-body --max-time 4 "$AGLOW/watch?users=42,bob" 2>/dev/null || true

# why is 42 shown as they are?
curl -sS --fail-with-body -w '\n' "$AGLOW/status/42/explain"

# how many users are online, and which
curl -sS --fail-with-body -w '\n' "$AGLOW/online/count"
curl -sS --fail-with-body -w '\n' "$AGLOW/online?limit=5"

# alice is signed out everywhere and then deleted; bob's status follows his devices again
curl -sS --fail-with-body -w '\n' -X POST "$AGLOW/users/$name/revoke"
curl -sS --fail-with-body -w '\n' -X DELETE "$AGLOW/users/$name"
curl -sS --fail-with-body -w '\n' -X PUT "$AGLOW/users/bob/status" -H "$JSON" -d '{"status": "auto"}'
