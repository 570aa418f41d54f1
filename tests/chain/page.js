// A browser that opens a page and uses it, for tests of what people see: headless Chromium. Answers first with {}.
'use strict';
const {chromium} = require('playwright-core');
const {say, serve} = require('./lines.js');

async function main() {
  const browser = await chromium.launch({executablePath: process.env.CREEL_TEST_CHROMIUM || '/usr/bin/chromium',
                                         headless: true, args: ['--disable-gpu', '--disable-dev-shm-usage']});
  const context = await browser.newContext({viewport: {width: 1280, height: 800}, ignoreHTTPSErrors: true});
  const page = await context.newPage();
  const console_lines = [];
  page.on('console', (message) => console_lines.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => console_lines.push(`error: ${error.message}`));
  const seen = async () => ({url: page.url(), title: await page.title(),
                             text: await page.locator('body').innerText(), console: console_lines});
  say({});
  await serve({
    open: async ({url}) => {
      const answer = await page.goto(url, {waitUntil: 'load'});
      return {status: answer.status(), ...await seen()};
    },
    // Until the page holds the text; what it holds then, either way.
    wait: async ({text, seconds = 60}) => {
      await page.getByText(text).first().waitFor({state: 'visible', timeout: seconds * 1000}).catch(() => {});
      return seen();
    },
    // Writes into the field that matches, and sends it with the Enter key.
    write: async ({selector, text}) => {
      await page.locator(selector).first().fill(text);
      await page.locator(selector).first().press('Enter');
      return seen();
    },
    screenshot: async ({path}) => {
      await page.screenshot({path});
      return {};
    },
  }, () => browser.close());
}

main().catch((error) => {
  say({error: error.stack});
  process.exit(1);
});
