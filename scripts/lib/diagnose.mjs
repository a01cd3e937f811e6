/**
 * What the output of a failed step means, and what to do about it. First match wins.
 * @type {readonly { match: RegExp, reason: string, fix: string }[]}
 */
const CAUSES = [
  {
    match: /ERR_PNPM_OUTDATED_LOCKFILE|lockfile is not up to date|frozen-lockfile/,
    reason: 'pnpm-lock.yaml does not match the package.json files',
    fix: 'run `npx --yes {pnpm} install` and keep the new pnpm-lock.yaml',
  },
  {
    match: /ENOSPC/,
    reason: 'the disk is full',
    fix: 'free about 300 MB and try again',
  },
  {
    match:
      /(EACCES|EROFS|EPERM)[\s\S]*(_cacache|_npx|_logs|\.npm|npm-cache)|Log files were not written due to an error|root-owned files/,
    reason: "npm's cache folder cannot be written",
    fix: 'name one that can: npm_config_cache=/path/to/folder npm start',
  },
  {
    match: /EACCES|EROFS|EPERM/,
    reason: 'a folder cannot be written',
    fix: 'make the folder named in the log writable and try again',
  },
  {
    match: /SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT|VERIFY)|CERT_HAS_EXPIRED|ERR_TLS_CERT/,
    reason: "the npm registry's certificate is not trusted here",
    fix: 'set NODE_EXTRA_CA_CERTS to the certificate file of your network and try again',
  },
  {
    match: /E40[13]\b|ERR_PNPM_FETCH_40[13]/,
    reason: 'the npm registry refused access',
    fix: 'check the registry and its token in your .npmrc (npm config get registry)',
  },
  {
    match: /E404|ERR_PNPM_FETCH_404|ETARGET|ERR_PNPM_NO_MATCHING_VERSION/,
    reason: 'the npm registry lacks a package',
    fix: 'check the registry in your .npmrc (npm config get registry)',
  },
  {
    match:
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|META_FETCH_FAIL/,
    reason: 'the npm registry cannot be reached',
    fix: 'the first run needs the network once: connect, or set a proxy (npm config set https-proxy URL), and try again',
  },
  {
    match: /no output for [\d.]+ s: ended/,
    reason: 'it hung',
    fix: 'read the log, then try again',
  },
  {
    match: /spawn npx ENOENT|npx: (command )?not found/,
    reason: 'npx was not found',
    fix: 'install npm, which brings npx, and try again',
  },
];

/**
 * @param {string} output
 * @param {string} pnpm such as `pnpm@10.0.0`
 */
export function diagnose(output, pnpm) {
  const cause = CAUSES.find((entry) => entry.match.test(output));
  if (cause === undefined) return { reason: 'it ended with an error', fix: 'read the log, then try again' };
  return { reason: cause.reason, fix: cause.fix.replace('{pnpm}', pnpm) };
}
