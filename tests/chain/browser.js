// A browser with an authenticator: headless Chromium, whose virtual authenticator makes real keys and signs with them,
// on pages of two origins at localhost. Answers first with the two origins.
'use strict';
const http = require('node:http');
const {chromium} = require('playwright-core');
const {say, serve} = require('./lines.js');

async function serve_page() {
  const server = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>page</title>');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://localhost:${server.address().port}`;
}

async function main() {
  const origins = [await serve_page(), await serve_page()];
  const browser = await chromium.launch({executablePath: process.env.CREEL_TEST_CHROMIUM || '/usr/bin/chromium',
                                         headless: true, args: ['--disable-gpu', '--disable-dev-shm-usage']});
  say({origins});
  await serve({
    // `protocol`: "ctap2" or "u2f"; `attestation`: instead of what the options ask for.
    register: async ({options, origin = 0, protocol = 'ctap2', attestation, verified = true}) => {
      const context = await browser.newContext();
      try {
        const page = await context.newPage();
        await page.goto(origins[origin]);
        const devtools = await context.newCDPSession(page);
        await devtools.send('WebAuthn.enable');
        await devtools.send('WebAuthn.addVirtualAuthenticator', {options: {
          protocol,
          transport: 'usb',
          hasUserVerification: protocol === 'ctap2' && verified,
          isUserVerified: protocol === 'ctap2' && verified,
          automaticPresenceSimulation: true,
        }});
        const credential = await page.evaluate(async (given) => {
          const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(given);
          return (await navigator.credentials.create({publicKey})).toJSON();
        }, attestation ? {...options, attestation} : options);
        return {credential};
      } finally {
        await context.close();
      }
    },
  }, () => browser.close());
}

main().catch((error) => {
  say({error: error.stack});
  process.exit(1);
});
