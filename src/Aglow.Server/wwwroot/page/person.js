// One person in the list.
import { paint } from './paint.js';
import { devicesWords, hueOf, initialsOf, nameOf, seenWords } from './words.js';

const template = document.getElementById('person');

export class Person {
    #parts;
    #shown = {}; // the present contents, so that only changes are written
    #record;
    #isLost = false;
    #isMe = false;
    #isFollowed;

    constructor(user, { onWhy, onFollow }) {
        this.user = user;
        this.name = nameOf(user);
        this.#record = { ...user, status: user.status ?? 'unknown', last_seen: user.last_seen ?? null };
        const element = template.content.cloneNode(true).firstElementChild;
        const part = (name) => element.querySelector(name);
        this.element = element;
        this.#parts = {
            avatar: part('.avatar'), dot: part('.dot'), name: part('.person-name'), seen: part('.person-seen'),
            devices: part('.person-devices'), why: part('.why-button'), follow: part('.follow'),
        };
        this.#label();
        this.#parts.why.addEventListener('click', () => onWhy(this));
        this.#parts.follow.addEventListener('click', () => onFollow(this));
        this.paint();
    }

    get isFollowed() {
        return this.#isFollowed;
    }

    /** This person was renamed. */
    rename(user) {
        this.user = user;
        if (nameOf(user) === this.name)
            return;
        this.name = nameOf(user);
        this.#label();
        paint(this);
    }

    #label() {
        this.#parts.avatar.textContent = initialsOf(this.name);
        this.#parts.avatar.style.setProperty('--hue', hueOf(this.name));
        this.#parts.why.setAttribute('aria-label', `Why? ${this.name}`);
        this.#parts.follow.setAttribute('aria-label', `Follow ${this.name}`);
    }

    received(record) {
        this.#record = record;
        paint(this);
    }

    /** `isLost`: the connection is lost. `isMe`: it is this tab's person. `isFollowed`: undefined if nobody can follow. */
    set({ isLost, isMe, isFollowed }) {
        this.#isLost = isLost;
        this.#isMe = isMe;
        this.#isFollowed = isFollowed;
        paint(this);
    }

    paint() {
        const record = this.#isLost ? { ...this.#record, status: 'unknown' } : this.#record;
        this.#write('status', record.status, (status) => (this.element.dataset.status = this.#parts.dot.dataset.status = status));
        this.#write('name', this.#isMe ? `${this.name} (you)` : this.name, (name) => (this.#parts.name.textContent = name));
        this.#write('seen', seenWords(record), (words) => (this.#parts.seen.textContent = words));
        this.#write('devices', this.#isLost ? '' : devicesWords(record), (words) => (this.#parts.devices.textContent = words));
        this.#write('canFollow', this.#isFollowed !== undefined, (can) => (this.#parts.follow.hidden = !can));
        this.#write('isFollowed', this.#isFollowed === true, (is) => this.#parts.follow.setAttribute('aria-pressed', is));
    }

    #write(what, value, write) {
        if (this.#shown[what] === value)
            return;
        this.#shown[what] = value;
        write(value);
    }
}
