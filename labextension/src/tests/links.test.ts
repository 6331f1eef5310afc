import assert from 'node:assert/strict';
import test from 'node:test';

import { fieldOf, pagesLink, proposeName, siteLink, typedPort } from '../links';
import { readStatus, type Port } from '../wire';

const PAGE = 'https://hub.example/user/mia/lab/tree/a.ipynb?x=1';

function port(item: object): Port {
  const found = readStatus({ at_ms: 1, ports: [{ port: 5173, ...item }] })?.ports[0];
  assert.ok(found);
  return found;
}

test('a link is absolute and stays on the site', () => {
  assert.equal(siteLink('/user/mia/proxy/3000/', PAGE), 'https://hub.example/user/mia/proxy/3000/');
});

test('a link that would lead elsewhere or run code is none', () => {
  for (const url of [
    null,
    '',
    'javascript:alert(1)',
    'JAVASCRIPT:alert(1)',
    'data:text/html,x',
    'https://evil.example/',
    '//evil.example/x',
    '\\\\evil.example/x',
    'http://hub.example/',
    'https://hub.example:444/',
    'https://hub.example@evil.example/',
    'http://['
  ]) {
    assert.equal(siteLink(url, PAGE), null, String(url));
  }
});

test('the pages of the service may be on the host of the hub, and nowhere by a trick', () => {
  assert.equal(pagesLink('/services/vessl/', PAGE), 'https://hub.example/services/vessl/');
  assert.equal(pagesLink('https://other.example/hub/home', PAGE), 'https://other.example/hub/home');
  for (const url of [null, undefined, '', 'javascript:alert(1)', '//evil.example/x', 'https://me@evil.example/', 'http://[/']) {
    assert.equal(pagesLink(url, PAGE), null, String(url));
  }
});

test('a proposed name is a name, whatever the program is called', () => {
  const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
  for (const process of ['vite', '<img src=x onerror=alert(1)>', '', '---', 'ÄÖ', 'a'.repeat(500), 'x-'.repeat(60)]) {
    assert.match(proposeName(port({ process }), []), NAME, process);
  }
  assert.equal(proposeName(port({ process: 'Streamlit.exe' }), []), 'streamlit');
});

test('a proposed name says the number when the program says nothing, and is not taken', () => {
  assert.equal(proposeName(port({ process: 'python3.11' }), []), 'port-5173');
  assert.equal(proposeName(port({ process: 'vite' }), ['vite']), 'vite-5173');
  assert.equal(proposeName(port({ process: 'vite' }), ['vite', 'vite-5173']), 'port-5173-2');
});

test('only a whole number is a port', () => {
  assert.equal(typedPort(' 3000 '), 3000);
  assert.equal(typedPort('70000'), 70000, 'ranges are for the service to refuse');
  for (const value of ['', 'x', '3.5', '-1', '3e3', '1'.repeat(30)]) {
    assert.equal(typedPort(value), null, value);
  }
});

test('a refusal finds its field of the form', () => {
  const fields = ['name', 'port', 'type'] as const;
  assert.equal(fieldOf('port', fields), 'port');
  assert.equal(fieldOf('ports.web.port', fields), 'port');
  assert.equal(fieldOf('ports.web', fields), null);
  assert.equal(fieldOf('', fields), null);
});
