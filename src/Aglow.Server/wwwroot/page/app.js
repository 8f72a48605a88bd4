// Puts the page together. Each module is one part of it; presence.js delivers the statuses.
import { Account } from './account.js';
import { Crowd } from './crowd.js';
import { listWebhooks } from './directory.js';
import { showLink } from './link.js';
import { Me } from './me.js';
import { showNow } from './now.js';
import { People } from './people.js';
import { Presence } from './presence.js';
import { Privacy } from './privacy.js';
import { onSignedIn } from './session.js';
import { showWhy } from './why.js';

const presence = new Presence();
const people = new People(presence, ({ user, name }) => showWhy(user.user_id, name));
const privacy = new Privacy();
const account = new Account({
    onRenamed: (user) => {
        me.rename(user);
        people.refresh();
    },
    onSignedOut: (user) => me.signedOut(user),
});
const me = new Me(presence, (user) => {
    people.setUser(user?.user_id);
    privacy.setUser(user?.user_id);
    account.setUser(user);
});
showLink(presence);
new Crowd(presence);
onSignedIn((person) => {
    // a person speaks for nobody else; a key may, by its scopes
    document.getElementById('crowd-card').hidden = person !== undefined;
    if (person === undefined)
        presence.as(presence.user);
    else
        me.arriveAs(person);
});

// for ./aglow bench page: when the first dots are drawn
people.load().then(() => requestAnimationFrame(() => setTimeout(() => performance.mark('aglow:dots'))));
if (!(await me.resume()))
    presence.as(undefined);
showNow();
// loads the webhooks part only if the server has webhooks
listWebhooks().then(({ webhooks }) => webhooks.length > 0 && import('./webhooks.js')).catch(() => {});
