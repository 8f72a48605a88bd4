// The person of this tab, kept while the tab is open. Each tab is a separate person.
import { http } from '/client/index.js';
import { announce } from './announcer.js';
import * as directory from './directory.js';
import { signIn, signOut, token } from './session.js';
import { now } from './time.js';
import { hueOf, initialsOf, nameOf, seenWords } from './words.js';

const KEPT = 'aglow.me';
const byId = (id) => document.getElementById(id);

export class Me {
    #presence;
    #onChange;
    #group;
    #user; // { user_id, user_name?, display_name? }
    #until; // when this person's status ends, if it does

    /** `onChange(user or undefined)` is called when the user of this tab changes. */
    constructor(presence, onChange) {
        this.#presence = presence;
        this.#onChange = onChange;
        this.#group = presence.group((record) => this.#received(record));
        presence.onState(() => presence.isLost && this.#say('Not connected'));
        presence.onError(({ title, detail }) => title !== 'Not connected' && announce(`${title}: ${detail}`));
        presence.onRefused((reason) => this.#turnAway(reason));
        byId('arrive').addEventListener('submit', (submit) => {
            submit.preventDefault();
            this.#arrive(byId('name').value.trim());
        });
        byId('leave').addEventListener('click', () => this.#leave());
        for (const choice of document.querySelectorAll('input[name=status]'))
            choice.addEventListener('change', () => this.#sendStatus());
        byId('say').addEventListener('submit', (submit) => {
            submit.preventDefault();
            this.#sendStatus();
        });
    }

    /** Restores the person of this tab. Returns whether there was one. */
    async resume() {
        const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
        if (!kept)
            return false;
        // a server on a new, empty folder does not know them; a number needs no profile
        const user = await directory.findUser(kept.user_id).catch(
            (refused) => (refused.status === 404 && typeof kept.user_id !== 'number' ? undefined : kept));
        if (user)
            this.#become(user);
        return user !== undefined;
    }

    /** Comes online as the user of a token. */
    arriveAs(id) {
        byId('name').value = id;
        byId('name').readOnly = true;
        return this.#arrive(id, findOrHeartbeat);
    }

    /** This tab's person was renamed. */
    rename(user) {
        this.#user = { user_id: user.user_id, user_name: user.user_name, display_name: user.display_name };
        sessionStorage.setItem(KEPT, JSON.stringify(this.#user));
        this.#label();
    }

    /** This tab's person was signed out everywhere. The server may have ended the connection before. */
    async signedOut(user) {
        if (this.#user) {
            this.#forget();
            await this.#presence.leave();
        }

        byId('arrive-problem').hidden = byId('sign-in-problem').hidden = true;
        announce(`${nameOf(user)} is signed out everywhere`);
    }

    // The server refuses this tab's person: disabled, deleted, signed out everywhere, or their token has ended.
    #turnAway({ title, detail }) {
        const why = `${title}: ${detail}`;
        this.#forget();
        this.#presence.as(undefined);
        announce(why);
        if (token() === undefined) {
            this.#complain(why);
        } else {
            signOut();
            signIn(why);
        }
    }

    async #arrive(name, find = findOrMake) {
        byId('arrive-problem').hidden = true;
        if (!name)
            return;
        try {
            this.#become(await find(name));
            announce(`You are online as ${nameOf(this.#user)}`);
            byId('me-name').focus();
        } catch (refused) {
            this.#complain(refused.detail ?? refused.message);
        }
    }

    #become(user) {
        this.#user = { user_id: user.user_id, user_name: user.user_name, display_name: user.display_name };
        sessionStorage.setItem(KEPT, JSON.stringify(this.#user));
        this.#label();
        byId('me').setAttribute('aria-labelledby', 'me-name');
        this.#say('Connecting');
        this.#choose(user.manual ?? 'auto');
        byId('arrive').hidden = true;
        byId('here').hidden = false;
        this.#presence.as(user.user_id);
        this.#group.set([user.user_id]);
        this.#onChange(this.#user);
    }

    #label() {
        const name = nameOf(this.#user);
        byId('me-name').textContent = name;
        byId('me-avatar').textContent = initialsOf(name);
        byId('me-avatar').style.setProperty('--hue', hueOf(name));
        document.title = `${name} · Aglow`;
    }

    async #leave() {
        const name = nameOf(this.#user);
        this.#forget();
        await this.#presence.leave();
        announce(`${name} has left`);
    }

    #forget() {
        sessionStorage.removeItem(KEPT);
        byId('name').value = this.#user.user_name ?? this.#user.user_id;
        this.#user = undefined;
        this.#group.set([]);
        byId('arrive').hidden = false;
        byId('here').hidden = true;
        byId('me').setAttribute('aria-labelledby', 'me-title');
        document.title = 'Aglow';
        byId('name').focus();
        this.#onChange(undefined);
    }

    // A status replaces the previous one, so the whole form is sent.
    #sendStatus() {
        const message = {};
        for (const member of ['text', 'emoji']) {
            const words = byId(`say-${member}`).value.trim();
            if (words)
                message[member] = words;
        }

        if (byId('say-for').value)
            message.for_seconds = Number(byId('say-for').value);
        this.#presence.setStatus(document.querySelector('input[name=status]:checked').value, message);
    }

    #received(record) {
        this.#until = record.until ?? this.#until;
        // the status has ended by itself
        if (!record.until && this.#until <= now())
            this.#choose('auto');
        const appearsOffline = document.querySelector('input[name=status]:checked')?.value === 'offline';
        this.#say(record.status === 'offline' && appearsOffline ? 'Others see you offline' : seenWords(record));
    }

    #choose(status) {
        byId('say').reset();
        this.#until = undefined;
        for (const choice of document.querySelectorAll('input[name=status]'))
            choice.checked = choice.value === (status === 'online' ? 'auto' : status);
    }

    #say(words) {
        byId('me-seen').textContent = words;
    }

    #complain(words) {
        byId('arrive-problem').textContent = words;
        byId('arrive-problem').hidden = false;
    }
}

// Digits are an integer ID, which needs no profile. Any other name is a known user name, or the name of a new person.
async function findOrMake(name) {
    if (/^(0|[1-9]\d{0,9})$/.test(name) && Number(name) < 2 ** 31)
        return numbered(Number(name));
    const known = await findByName(name);
    if (known)
        return come(known);
    try {
        return await come(await directory.createUser({ user_name: name }));
    } catch (refused) {
        // the ID belongs to a user with another name
        if (refused.status !== 409)
            throw refused;
        return come(await directory.createUser({ user_name: name, user_id: `${name} ${crypto.randomUUID()}` }));
    }
}

// A number may have chosen a status before.
const numbered = (number) => directory.findUser(number).catch((refused) => {
    if (refused.status !== 404)
        throw refused;
    return { user_id: number };
});

// Finds the user with this user name, in any case. The search lists the names that begin with it first.
async function findByName(name) {
    const { users } = await directory.searchUsers(name, 100);
    return users.find(({ user_name }) => user_name !== null && sameName(user_name, name));
}

const sameName = (one, other) => one.normalize('NFKC').toLowerCase() === other.normalize('NFKC').toLowerCase();

// Sends a first heartbeat, which fails if this person may not come online.
async function come(user) {
    try {
        await http({ user: user.user_id, token: token() }).heartbeat();
    } catch (refused) {
        throw refused.status === 404
            ? new Error('Nobody can come online under this name: it is one of the demo’s people. Choose another.')
            : refused;
    }

    return directory.findUser(user.user_id);
}

const findOrHeartbeat = (id) => come({ user_id: id });
