// Presence on a bare `ws` server, as most people write it: a map of users to their watchers, and each change is sent at once.
// A watcher gets a snapshot, then changes.
'use strict';
const { WebSocketServer } = require('ws');

const watchers = new Map(); // user -> Set of sockets
const users = require('./users')((id) => {
    const sockets = watchers.get(id);
    if (sockets === undefined) return;
    const message = JSON.stringify({ type: 'presence', users: [users.record(id)] });
    for (const socket of sockets) socket.send(message);
});

const server = new WebSocketServer({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
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
            socket.send(JSON.stringify({ type: 'presence', users: message.users.map(users.record) }));
        } else if (message.type === 'heartbeat') {
            users.heartbeats(message.users);
        } else if (message.type === 'leave') {
            users.leaves(message.users);
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

require('./collect').listen();
server.on('listening', () => console.log('ready'));
