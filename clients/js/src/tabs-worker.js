/** The SharedWorker of tabs.js: one for each name, for as long as one of its tabs is open. */
import { SharedSocket, serve } from './shared-socket.js';

const shared = new SharedSocket(WebSocket);
const posts = new Map();

globalThis.onconnect = ({ ports: [port] }) => {
    const post = (event) => port.postMessage(event);
    port.onmessage = ({ data }) => serve(shared, navigator.locks, post, data, posts);
    post({ kind: 'ready' });
};
