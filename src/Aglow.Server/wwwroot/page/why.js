// Explains the status of a user: the server's explanation in plain words.
import { explain } from './directory.js';
import { ago, clockTime, lasting } from './time.js';

const byId = (id) => document.getElementById(id);

/** Opens the explanation of a user with this name. */
export async function showWhy(user, name) {
    let why;
    try {
        why = await explain(user);
    } catch (refused) {
        byId('why-title').textContent = `Why is ${name} shown so?`;
        byId('why-reason').textContent = refused.message;
        byId('why-facts').replaceChildren();
        byId('why-source').textContent = '';
        open();
        return;
    }

    byId('why-title').textContent = `Why is ${name} shown as ${why.status}?`;
    byId('why-reason').textContent = reasonFor(why, name);
    byId('why-facts').replaceChildren(...factsOf(why).flatMap(([term, words]) => [element('dt', term), element('dd', words)]));
    byId('why-source').textContent = `As ${why.node} knows it at ${clockTime(why.now)}. In its own words: “${why.reason}”`;
    open();
}

function open() {
    byId('why').showModal();
    byId('why-title').focus();
}

function reasonFor(why, name) {
    const age = why.last_heartbeat_age_seconds;
    const lease = why.definition.pulse_seconds;
    const last = `the last heartbeat came ${lasting(age ?? 0)} ago`;
    if (why.manual === 'offline')
        return `${name} chose to appear offline, and is shown offline even while their devices send heartbeats.`;
    if (age === null)
        return `${name} never sent a heartbeat.`;
    if (!why.is_online && why.said_goodbye && why.definition.ended_by_leave)
        return `${name} left ${lasting(age)} ago, and was offline at once.`;
    if (!why.is_online && age > lease)
        return `A heartbeat counts for ${lasting(lease)}, and ${last}. ${name} did not leave: the device vanished, or lost its connection.`;
    if (!why.is_online)
        return `${name} is connected, but has done nothing for a while.`;
    const who = why.source === 'user' ? 'chose' : `${why.source} asks`;
    if (why.manual === 'busy' || why.manual === 'away')
        return `${name} is connected (${last}) and ${who} to be shown as ${why.manual}.`;
    if (why.status === 'away')
        return `${name} is connected (${last}), but last did something ${ago(why.last_activity_at, why.now)}.`;
    if (why.stall_guard_in_force && age > lease)
        return `${last[0].toUpperCase()}${last.slice(1)}. That is longer than a heartbeat counts, `
            + 'but the server itself could not receive heartbeats for a while, so it shows nobody offline yet.';
    return `A heartbeat counts for ${lasting(lease)}, and ${last}.`;
}

function factsOf(why) {
    const { definition } = why;
    const activity = definition.activity_seconds ? `, with activity within ${lasting(definition.activity_seconds)}` : '';
    return [
        ['Last heartbeat',
            why.last_heartbeat_at ? `${clockTime(why.last_heartbeat_at)}, ${lasting(why.last_heartbeat_age_seconds)} ago` : 'none'],
        ['Left', why.said_goodbye ? 'yes, with that' : 'no'],
        ['Last activity',
            why.last_activity_at ? `${clockTime(why.last_activity_at)}, ${ago(why.last_activity_at, why.now)}` : 'none reported'],
        ['Chosen status', { auto: 'none', offline: 'appear offline' }[why.manual] ?? why.manual],
        ['Says', [why.emoji, why.text].filter(Boolean).join(' ') || 'nothing'],
        [
            'Online means',
            `a heartbeat within ${lasting(definition.pulse_seconds)}${activity}${definition.ended_by_leave ? ', until they leave' : ''}`,
        ],
        [
            'Going offline',
            why.stall_guard_in_force ? 'held back, because the server could not receive heartbeats for a while' : 'not held back',
        ],
    ];
}

function element(tag, words) {
    const made = document.createElement(tag);
    made.textContent = words;
    return made;
}
