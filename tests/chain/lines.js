// What the scripts of this folder share: they read one JSON object a line, do what its "op" says, and answer with one
// JSON object a line. They end when their input does, so that none outlives its test.
'use strict';
const readline = require('node:readline');

exports.say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

// `end` clears up; it is awaited.
exports.serve = async (operations, end) => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    const {op, ...rest} = JSON.parse(line);
    try {
      exports.say(await operations[op](rest));
    } catch (error) {
      exports.say({error: `${op}: ${error.message}`});
    }
  }
  await end();
  process.exit(0);
};
