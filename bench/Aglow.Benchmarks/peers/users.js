// What both peers do in the same way: users send heartbeats and leave (in lists, over a socket), and expire after 30 s.
// Each change is told at once.
'use strict';

const leaseMilliseconds = 30_000;
const users = new Map(); // user -> { online, lastSeen }

const record = (id) => {
    const user = users.get(id);
    const online = user !== undefined && user.online;
    const last_seen = user ? Math.floor(user.lastSeen / 1000) : null;
    return { user_id: id, is_online: online, status: online ? 'online' : 'offline', last_seen };
};

// tell: called with a user who came or left
module.exports = (tell) => {
    const heartbeat = (id, now) => {
        const user = users.get(id);
        if (user === undefined) {
            users.set(id, { online: true, lastSeen: now });
            tell(id);
            return;
        }
        user.lastSeen = now;
        if (!user.online) {
            user.online = true;
            tell(id);
        }
    };

    const leave = (id) => {
        const user = users.get(id);
        if (user === undefined || !user.online) return;
        user.online = false;
        tell(id);
    };

    setInterval(() => {
        const oldest = Date.now() - leaseMilliseconds;
        for (const [id, user] of users) {
            if (user.online && user.lastSeen < oldest) leave(id);
        }
    }, 1000);

    return {
        record,
        heartbeats: (ids) => {
            const now = Date.now();
            for (const id of ids) heartbeat(id, now);
        },
        leaves: (ids) => {
            for (const id of ids) leave(id);
        },
    };
};
