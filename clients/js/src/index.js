/** `@aglow/client`: what it offers is written down in index.d.ts. */
export { backoffMs } from './backoff.js';
export { connect } from './connection.js';
export { AglowError, http } from './server.js';
