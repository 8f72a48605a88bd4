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
    const heard = `the last sign of life came ${lasting(age ?? 0)} ago`;
    if (why.manual === 'offline')
        return `${name} chose to appear offline, and is shown so whatever their devices go on sending.`;
    if (age === null)
        return `Nothing was ever heard of ${name}.`;
    if (!why.is_online && why.said_goodbye && why.definition.ended_by_leave)
        return `${name} said goodbye ${lasting(age)} ago, and was offline at once.`;
    if (!why.is_online && age > lease)
        return `A sign of life lasts ${lasting(lease)}, and ${heard}. Nobody said goodbye: the device vanished, or lost its connection.`;
    if (!why.is_online)
        return `${name} is connected, but has done nothing for a while.`;
    const who = why.source === 'user' ? 'chose' : `${why.source} asks`;
    if (why.manual === 'busy' || why.manual === 'away')
        return `${name} is connected (${heard}) and ${who} to be shown as ${why.manual}.`;
    if (why.status === 'away')
        return `${name} is connected (${heard}), but last did something ${ago(why.last_activity_at, why.now)}.`;
    if (why.stall_guard_in_force && age > lease)
        return `${heard[0].toUpperCase()}${heard.slice(1)}. That is longer than one lasts, `
            + 'but for a while the server itself could not listen, so it shows nobody offline for it yet.';
    return `A sign of life lasts ${lasting(lease)}, and ${heard}.`;
}

function factsOf(why) {
    const { definition } = why;
    const activity = definition.activity_seconds ? `, with activity within ${lasting(definition.activity_seconds)}` : '';
    return [
        ['Last sign of life',
            why.last_heartbeat_at ? `${clockTime(why.last_heartbeat_at)}, ${lasting(why.last_heartbeat_age_seconds)} ago` : 'none'],
        ['Goodbye', why.said_goodbye ? 'said, with that' : 'not said'],
        ['Last activity',
            why.last_activity_at ? `${clockTime(why.last_activity_at)}, ${ago(why.last_activity_at, why.now)}` : 'none reported'],
        ['Chosen status', { auto: 'none', offline: 'appear offline' }[why.manual] ?? why.manual],
        ['Says', [why.emoji, why.text].filter(Boolean).join(' ') || 'nothing'],
        [
            'Online means',
            `a sign of life within ${lasting(definition.pulse_seconds)}${activity}${definition.ended_by_leave ? ', until a goodbye' : ''}`,
        ],
        ['Going offline', why.stall_guard_in_force ? 'held back, since the server could not listen for a while' : 'not held back'],
    ];
}

function element(tag, words) {
    const made = document.createElement(tag);
    made.textContent = words;
    return made;
}
