// Which of your friends are online: node dots.js ME FRIEND… (Node 20 and 21: node --experimental-websocket dots.js ME FRIEND…)
// Type auto, away, busy or offline to choose the status that they see. Ctrl+C leaves.
import { createInterface } from 'node:readline';
import { connect } from '../../clients/js/src/index.js'; // in a program of your own: '@aglow/client'

const [me, ...friends] = process.argv.slice(2);
if (friends.length === 0) {
    console.error('usage: node dots.js ME FRIEND…');
    process.exit(2);
}

const DOTS = { online: '🟢', away: '🟡', busy: '🔴', offline: '⚪', unknown: '❔' };
const connection = connect({ url: process.env.AGLOW_URL ?? 'http://127.0.0.1:8080', user: me });
connection.onState((state) => console.log(`   ${state}`));
connection.watch(friends, ({ user_id, status, last_seen }) => {
    const seen = status === 'offline' && last_seen ? `, last seen ${new Date(last_seen * 1000).toLocaleString()}` : '';
    console.log(`${DOTS[status]} ${user_id} ${status}${seen}`);
});

createInterface({ input: process.stdin }).on('line', (line) => {
    try {
        connection.setStatus(line.trim());
    } catch (mistake) {
        console.error(`   ${mistake.message}`);
    }
});
process.once('SIGINT', () => connection.leave().then(() => process.exit()));
