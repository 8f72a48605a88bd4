// Presence on Socket.IO, as most people write it: one room per user, and each change is emitted to it at once.
// A watcher gets a snapshot, then changes.
'use strict';
const { createServer } = require('http');
const { Server } = require('socket.io');

const server = createServer();
const io = new Server(server, { transports: ['websocket'] });
const room = (id) => `user:${id}`;
const users = require('./users')((id) => io.to(room(id)).emit('presence', [users.record(id)]));

io.on('connection', (socket) => {
    socket.on('watch', (ids) => {
        socket.join(ids.map(room));
        socket.emit('presence', ids.map(users.record));
    });
    socket.on('heartbeat', users.heartbeats);
    socket.on('leave', users.leaves);
});

require('./collect').listen();
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 }, () => console.log('ready'));
