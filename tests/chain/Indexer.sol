// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

// The newest attestation of each schema about each address, asked for as Coinbase's index is.
contract Indexer {
    mapping(address => mapping(bytes32 => bytes32)) private newest;

    function set(address recipient, bytes32 schema, bytes32 uid) external {
        newest[recipient][schema] = uid;
    }

    function getAttestationUid(address recipient, bytes32 schemaUid) external view returns (bytes32) {
        return newest[recipient][schemaUid];
    }
}
