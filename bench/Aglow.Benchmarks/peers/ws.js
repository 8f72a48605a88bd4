// Presence on a bare `ws` server, as most people write it: a map of users to their watchers, and each change is sent at once.
// Users send heartbeats and leave (in lists, over a socket), expire after 30 s, and are watched. A watcher gets a snapshot, then changes.
'use strict';
const { WebSocketServer } = require('ws');

const leaseMilliseconds = 30_000;
const port = Number(process.argv[2]);
const users = new Map(); // user -> { online, lastSeen }
const watchers = new Map(); // user -> Set of sockets

const record = (id) => {
    const user = users.get(id);
    const online = user !== undefined && user.online;
    const last_seen = user ? Math.floor(user.lastSeen / 1000) : null;
    return { user_id: id, is_online: online, status: online ? 'online' : 'offline', last_seen };
};

const tell = (id) => {
    const sockets = watchers.get(id);
    if (sockets === undefined) return;
    const message = JSON.stringify({ type: 'presence', users: [record(id)] });
    for (const socket of sockets) socket.send(message);
};

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

const server = new WebSocketServer({ port, host: '127.0.0.1', backlog: 4096 });
server.on('connection', (socket) => {
    const watched = [];
    socket.on('error', () => {});
    socket.on('message', (data) => {
        const message = JSON.parse(data);
        if (message.type === 'watch') {
            for (const id of message.users) {
                let sockets = watchers.get(id);
                if (sockets === undefined) watchers.set(id, (sockets = new Set()));
                sockets.add(socket);
                watched.push(id);
            }
            socket.send(JSON.stringify({ type: 'presence', users: message.users.map(record) }));
        } else if (message.type === 'heartbeat') {
            const now = Date.now();
            for (const id of message.users) heartbeat(id, now);
        } else if (message.type === 'leave') {
            for (const id of message.users) leave(id);
        }
    });
    socket.on('close', () => {
        for (const id of watched) {
            const sockets = watchers.get(id);
            sockets.delete(socket);
            if (sockets.size === 0) watchers.delete(id);
        }
    });
});

setInterval(() => {
    const oldest = Date.now() - leaseMilliseconds;
    for (const [id, user] of users) {
        if (user.online && user.lastSeen < oldest) leave(id);
    }
}, 1000);

require('./collect').listen();
server.on('listening', () => console.log('ready'));
