// A chain of its own: an anvil node on a free loopback port with the real contracts of the Ethereum Attestation Service
// and of ENS, and an index as Coinbase keeps one. Wallets are anvil's well-known ones, by number; ethers signs.
//
// Answers first with where everything is. The chain's clock starts a day ago, so that an attestation can have expired.
'use strict';
const {spawn} = require('node:child_process');
const {once} = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const {ethers} = require('ethers');
const {say, serve} = require('./lines.js');

const modules = process.env.NODE_PATH;
const artifact = (file) => JSON.parse(fs.readFileSync(path.join(modules, file)));
const eas_artifact = (name) =>
  artifact(`@ethereum-attestation-service/eas-contracts/artifacts/contracts/${name}.sol/${name}.json`);
const ens_artifact = (name) => artifact(`@ensdomains/ens/build/contracts/${name}.json`);
const resolver_artifact = (name) => artifact(`@ensdomains/resolver/build/contracts/${name}.json`);

const day = 24 * 3600;
const phrase = 'test test test test test test test test test test test junk';

async function start_anvil() {
  const yesterday = Math.floor(Date.now() / 1000) - day;
  const anvil = spawn(path.join(modules, '@foundry-rs/anvil-linux-amd64/bin/anvil'),
                      ['--host', '127.0.0.1', '--port', '0', '--timestamp', String(yesterday)],
                      {stdio: ['ignore', 'pipe', 'inherit']});
  process.on('exit', () => anvil.kill('SIGKILL'));
  const url = await new Promise((resolve, reject) => {
    let output = '';
    anvil.on('exit', () => reject(new Error(`anvil ended: ${output}`)));
    anvil.stdout.on('data', (piece) => {
      output = (output + piece).slice(-4096);
      const found = output.match(/Listening on (\S+:\d+)/);
      if (found) resolve(`http://${found[1]}`);
    });
  });
  return {anvil, url};
}

function compile_indexer() {
  const solc = require('solc');
  const source = fs.readFileSync(path.join(__dirname, 'Indexer.sol'), 'utf8');
  const output = JSON.parse(solc.compile(JSON.stringify({
    language: 'Solidity',
    sources: {'Indexer.sol': {content: source}},
    settings: {evmVersion: 'paris', outputSelection: {'*': {'*': ['abi', 'evm.bytecode.object']}}},
  })));
  const compiled = output.contracts?.['Indexer.sol']?.Indexer;
  if (!compiled) throw new Error(JSON.stringify(output.errors));
  return {abi: compiled.abi, bytecode: '0x' + compiled.evm.bytecode.object};
}

async function main() {
  const {anvil, url} = await start_anvil();
  const provider = new ethers.JsonRpcProvider(url, undefined, {staticNetwork: true, cacheTimeout: -1, polling: true,
                                                               pollingInterval: 20});
  const wallets = [...Array(6).keys()].map((i) =>
    new ethers.NonceManager(ethers.HDNodeWallet.fromPhrase(phrase, '', `m/44'/60'/0'/0/${i}`).connect(provider)));
  const address = (i) => wallets[i].getAddress();
  const deployer = wallets[0];
  const deploy = async ({abi, bytecode}, ...args) => {
    const contract = await new ethers.ContractFactory(abi, bytecode, deployer).deploy(...args);
    return contract.waitForDeployment();
  };
  const done = async (sent) => (await sent).wait();
  const node_of = (name) => name === '' ? ethers.ZeroHash : ethers.namehash(name);
  const label = (text) => ethers.keccak256(ethers.toUtf8Bytes(text));

  const registry = await deploy(eas_artifact('SchemaRegistry'));
  const eas = await deploy(eas_artifact('EAS'), await registry.getAddress());
  const schemas = {};
  for (const [name, text] of [['good', 'bool verified'], ['other', 'string anything']]) {
    await done(registry.register(text, ethers.ZeroAddress, true));
    schemas[name] = ethers.solidityPackedKeccak256(['string', 'address', 'bool'], [text, ethers.ZeroAddress, true]);
  }
  const indexer = await deploy(compile_indexer());

  const ens = await deploy(ens_artifact('ENSRegistry'));
  const reverse_resolver = await deploy(resolver_artifact('DefaultReverseResolver'), await ens.getAddress());
  const registrar =
    await deploy(ens_artifact('ReverseRegistrar'), await ens.getAddress(), await reverse_resolver.getAddress());
  const resolver = await deploy(resolver_artifact('PublicResolver'), await ens.getAddress());
  await done(ens.setSubnodeOwner(ethers.ZeroHash, label('reverse'), await address(0)));
  await done(ens.setSubnodeOwner(node_of('reverse'), label('addr'), await registrar.getAddress()));

  say({
    url,
    schemas,
    eas: await eas.getAddress(),
    indexer: await indexer.getAddress(),
    ens: await ens.getAddress(),
    wallets: await Promise.all(wallets.map((wallet) => wallet.getAddress())),
  });

  await serve({
    sign: async ({wallet, message}) => ({signature: await wallets[wallet].signMessage(message)}),
    // The other signature of the same text by the same key: s mirrored, v turned.
    high_s: async ({signature}) => {
      const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
      const {r, s, v} = ethers.Signature.from(signature);
      return {signature: ethers.concat([r, ethers.toBeHex(order - BigInt(s), 32), ethers.toBeHex(v === 27 ? 28 : 27)])};
    },
    attest: async ({attester, schema, recipient, expires_in}) => {
      const now = (await provider.getBlock('latest')).timestamp;
      const receipt = await done(eas.connect(wallets[attester]).attest({
        schema: schemas[schema],
        data: {
          recipient: await address(recipient),
          expirationTime: expires_in ? now + expires_in : 0,
          revocable: true,
          refUID: ethers.ZeroHash,
          data: ethers.AbiCoder.defaultAbiCoder().encode(['bool'], [true]),
          value: 0,
        },
      }));
      const event = receipt.logs.map((log) => eas.interface.parseLog(log)).find((found) => found?.name === 'Attested');
      return {uid: event.args.uid};
    },
    revoke: async ({attester, schema, uid}) => {
      await done(eas.connect(wallets[attester]).revoke({schema: schemas[schema], data: {uid, value: 0}}));
      return {};
    },
    index: async ({recipient, schema, uid}) => {
      await done(indexer.set(await address(recipient), schemas[schema], uid));
      return {};
    },
    // What the wallet says its name is.
    claim_name: async ({wallet, name}) => {
      await done(registrar.connect(wallets[wallet]).setName(name));
      return {};
    },
    // Where the name leads.
    point_name: async ({name, wallet}) => {
      const labels = name.split('.');
      for (let i = labels.length - 1; i >= 0; --i) {
        const parent = node_of(labels.slice(i + 1).join('.'));
        await done(ens.setSubnodeOwner(parent, label(labels[i]), await address(0)));
      }
      await done(ens.setResolver(node_of(name), await resolver.getAddress()));
      await done(resolver['setAddr(bytes32,address)'](node_of(name), await address(wallet)));
      return {};
    },
    // Freezes the node: it takes connections and answers nothing.
    freeze: async () => anvil.kill('SIGSTOP') ? {} : {error: 'anvil is gone'},
    thaw: async () => anvil.kill('SIGCONT') ? {} : {error: 'anvil is gone'},
    kill: async () => {
      const gone = once(anvil, 'exit');
      anvil.kill('SIGKILL');
      await gone;
      return {};
    },
  }, async () => anvil.kill('SIGKILL'));
}

main().catch((error) => {
  say({error: error.stack});
  process.exit(1);
});
