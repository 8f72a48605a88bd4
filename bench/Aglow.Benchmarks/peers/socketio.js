// Presence on Socket.IO, as most people write it: one room per user, and each change is emitted to it at once.
// Users send heartbeats and leave (in lists, over a socket), expire after 30 s, and are watched. A watcher gets a snapshot, then changes.
'use strict';
const { createServer } = require('http');
const { Server } = require('socket.io');

const leaseMilliseconds = 30_000;
const port = Number(process.argv[2]);
const users = new Map(); // user -> { online, lastSeen }

const record = (id) => {
    const user = users.get(id);
    const online = user !== undefined && user.online;
    const last_seen = user ? Math.floor(user.lastSeen / 1000) : null;
    return { user_id: id, is_online: online, status: online ? 'online' : 'offline', last_seen };
};

const server = createServer();
const io = new Server(server, { transports: ['websocket'] });
const room = (id) => `user:${id}`;
const tell = (id) => io.to(room(id)).emit('presence', [record(id)]);

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

io.on('connection', (socket) => {
    socket.on('watch', (ids) => {
        socket.join(ids.map(room));
        socket.emit('presence', ids.map(record));
    });
    socket.on('heartbeat', (ids) => {
        const now = Date.now();
        for (const id of ids) heartbeat(id, now);
    });
    socket.on('leave', (ids) => {
        for (const id of ids) leave(id);
    });
});

setInterval(() => {
    const oldest = Date.now() - leaseMilliseconds;
    for (const [id, user] of users) {
        if (user.online && user.lastSeen < oldest) leave(id);
    }
}, 1000);

require('./collect').listen();
server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => console.log('ready'));
