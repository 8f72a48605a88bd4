// Announcements for screen readers: few, and never faster than they can be read out.

const EVERY_MS = 5000;
const AT_ONCE = 2; // if more wait, only their number is announced

const region = document.getElementById('announcer');
let waiting = [];
let timer;

/** Announces these words soon. */
export function announce(words) {
    waiting.push(words);
    timer ??= setTimeout(say, waiting.length === 1 ? 250 : EVERY_MS);
}

/** Makes a change. A refusal is shown in this element, and announced. */
export async function attempt(problem, change) {
    problem.hidden = true;
    try {
        await change();
    } catch (refused) {
        problem.textContent = refused.message;
        problem.hidden = false;
        announce(refused.message);
    }
}

function say() {
    if (waiting.length === 0) {
        timer = undefined;
        return;
    }

    region.textContent = waiting.length <= AT_ONCE ? waiting.join('. ') : `${waiting.length} changes among the people you follow`;
    waiting = [];
    timer = setTimeout(say, EVERY_MS);
}
