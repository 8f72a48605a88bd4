// The state of the connection: a line in the corner, and a bar while the statuses may be wrong.
import { announce } from './announcer.js';

const byId = (id) => document.getElementById(id);
const WORDS = { open: 'Live', connecting: 'Connecting', stale: 'No store', closed: 'Closed' };

export function showLink(presence) {
    let wasLost = false;
    presence.onState(() => {
        const { state, isLost } = presence;
        byId('link').dataset.state = state;
        byId('link-words').textContent = isLost && state === 'connecting' ? 'Reconnecting' : WORDS[state];
        byId('lost').hidden = !isLost;
        if (isLost === wasLost)
            return;
        wasLost = isLost;
        byId('lost-title').textContent = state === 'stale' ? 'The server cannot read its store.' : 'The connection is lost.';
        byId('lost-detail').textContent = 'Everybody is shown as unknown. The page recovers by itself.';
        announce(isLost ? `${byId('lost-title').textContent} ${byId('lost-detail').textContent}` : 'Connected again');
    });
}
