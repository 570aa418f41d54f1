#!/usr/bin/env python3
"""Runs the reference agent as a process and checks what the README says of it.

    test.py [BINARY]     without one, builds it in a temporary folder (g++)

Needs only python3's standard library; touches nothing outside its temporary folders, and 127.0.0.1.
"""
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN = 'c0ffee' * 8
BINARY = None


def build(folder):
    script = HERE.parent / 'build-image.sh'
    binary = Path(folder) / 'agent'
    subprocess.run([str(script), '--binary', str(binary)], check=True)
    return str(binary)


class Agent:
    """The process, its state folder and its log."""

    def __init__(self, config=None, state=None, raw=None, wait=True):
        self.folder = tempfile.TemporaryDirectory() if state is None else None
        self.state = Path(state or self.folder.name)
        if raw is not None:
            (self.state / 'config.json').write_text(raw)
        elif config is not None or not (self.state / 'config.json').exists():
            self.configure(config or {})
        self.start(wait)

    def start(self, wait=True):
        self.log = []
        self.port = None
        env = {'PORT': '0', 'STATE_DIR': str(self.state)}
        self.process = subprocess.Popen([BINARY], env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        if wait:
            line = self.wait_log('listening')
            self.port = line['port']

    def read_log(self):
        for line in self.process.stdout:
            self.log.append(json.loads(line))

    def wait_log(self, message, timeout=5):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for line in list(self.log):
                if message in line['message']:
                    return line
            time.sleep(0.01)
        raise AssertionError(f'no log line "{message}" in {self.log}')

    def configure(self, config, token=TOKEN):
        config = dict({'gateway': {'token': token}, 'name': 'tester', 'model': 'reference/echo'}, **config)
        temporary = self.state / 'config.json.new'
        temporary.write_text(json.dumps(config))
        temporary.rename(self.state / 'config.json')

    def exit_code(self, timeout=5):
        code = self.process.wait(timeout)
        self.reader.join(timeout)
        return code

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.exit_code()
        self.process.stdout.close()
        return code

    def close(self):
        self.stop()
        if self.folder:
            self.folder.cleanup()

    def connect(self, timeout=10):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, token=TOKEN, connection=None):
        c = connection or self.connect()
        headers = dict(headers or {})
        if token is not None:
            headers['Authorization'] = 'Bearer ' + token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            c.request(method, path, body=body.encode() if isinstance(body, str) else body, headers=headers)
            response = c.getresponse()
            return response, response.read()
        finally:
            if connection is None:
                c.close()

    def json(self, *args, **kwargs):
        response, data = self.request(*args, **kwargs)
        return response.status, json.loads(data)

    def chat(self, text, session=None, **more):
        headers = {'x-openclaw-session-key': session} if session else {}
        body = dict({'model': 'x', 'messages': [{'role': 'user', 'content': text}]}, **more)
        status, answer = self.json('POST', '/v1/chat/completions', body, headers)
        assert status == 200, (status, answer)
        return answer['choices'][0]['message']['content']

    def raw(self, data, timeout=5, half_close=False):
        with socket.create_connection(('127.0.0.1', self.port), timeout=timeout) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            received = b''
            try:
                while chunk := s.recv(65536):
                    received += chunk
            except (ConnectionResetError, socket.timeout):
                pass
            return received


class Case(unittest.TestCase):
    def agent(self, *args, **kwargs):
        agent = Agent(*args, **kwargs)
        self.addCleanup(agent.close)
        return agent


class Serving(Case):
    def test_it_is_live_and_ready(self):
        a = self.agent()
        for path in ('/healthz', '/health'):
            self.assertEqual(a.json('GET', path, token=None), (200, {'ok': True, 'status': 'live'}))
        for path in ('/readyz', '/ready', '/readyz?verbose=1'):
            self.assertEqual(a.json('GET', path, token=None), (200, {'ready': True}))
        status, answer = a.json('GET', '/readyz')
        self.assertEqual((status, answer['ready'], answer['failing']), (200, True, []))
        self.assertGreaterEqual(answer['uptimeMs'], 0)

    def test_it_is_not_ready_before_its_delay(self):
        a = self.agent({'ready_delay_ms': 700})
        self.assertEqual(a.json('GET', '/readyz', token=None), (503, {'ready': False}))
        self.assertEqual(a.json('GET', '/healthz', token=None)[0], 200)
        line = a.wait_log('ready')
        self.assertGreaterEqual(line['after_ms'], 700)
        self.assertEqual(a.json('GET', '/readyz', token=None), (200, {'ready': True}))

    def test_unknown_paths_and_methods_are_refused(self):
        a = self.agent()
        self.assertEqual(a.json('GET', '/nope')[0], 404)
        self.assertEqual(a.json('GET', '/v1/chat/completionsX')[0], 404)
        for method, path, allow in (('GET', '/v1/chat/completions', 'POST'), ('POST', '/healthz', 'GET'),
                                    ('DELETE', '/v1/sessions', 'GET')):
            response, data = a.request(method, path)
            self.assertEqual((response.status, response.headers['Allow']), (405, allow))
            self.assertEqual(json.loads(data)['error']['type'], 'method_not_allowed')

    def test_the_token_is_needed_and_is_never_logged(self):
        a = self.agent()
        body = {'messages': [{'role': 'user', 'content': 'x'}]}
        unauthorized = {'error': {'message': 'Unauthorized', 'type': 'unauthorized'}}
        for token in (None, '', 'wrong', TOKEN[:-1], TOKEN + 'x', TOKEN.upper()):
            self.assertEqual(a.json('POST', '/v1/chat/completions', body, token=token), (401, unauthorized), token)
            self.assertEqual(a.json('GET', '/v1/sessions', token=token), (401, unauthorized), token)
        self.assertEqual(a.json('POST', '/v1/chat/completions', body, token=None,
                                headers={'Authorization': 'Basic ' + TOKEN})[0], 401)
        self.assertEqual(a.json('POST', '/v1/chat/completions', body, token=None,
                                headers={'Authorization': 'bearer  ' + TOKEN})[0], 200)
        self.assertEqual(a.stop(), 0)
        self.assertNotIn(TOKEN, json.dumps(a.log))
        refused = [line for line in a.log if line['message'] == 'request refused']
        self.assertEqual({k: refused[0][k] for k in ('level', 'status', 'method', 'path', 'reason')},
                         {'level': 'warn', 'status': 401, 'method': 'POST', 'path': '/v1/chat/completions',
                          'reason': 'Unauthorized'})
        self.assertEqual((a.log[0]['name'], a.log[0]['model'], a.log[0]['pid']), ('tester', 'reference/echo', a.process.pid))
        for line in a.log:
            self.assertIn(line['level'], ('info', 'warn', 'error'))
            self.assertRegex(line['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')

    def test_it_tells_its_state(self):
        a = self.agent()
        status, answer = a.json('GET', '/v1/status')
        self.assertEqual((status, answer['version'], answer['name'], answer['model']), (200, '1', 'tester', 'reference/echo'))
        self.assertGreaterEqual(answer['uptimeMs'], 0)
        self.assertEqual(a.json('GET', '/v1/status', token=None)[0], 401)

    def test_it_tells_what_was_said_in_a_session(self):
        a = self.agent()
        session = {'x-openclaw-session-key': 'topic:x'}
        self.assertEqual(a.json('GET', '/v1/messages', headers=session), (200, {'messages': []}))
        for i in range(150):
            a.chat(f'{i} \u00e4 "quoted" ' + 'long ' * 300, 'topic:x')
        a.chat('elsewhere', 'topic:y')
        status, answer = a.json('GET', '/v1/messages?limit=3', headers=session)
        self.assertEqual((status, [m['role'] for m in answer['messages']]), (200, ['assistant', 'user', 'assistant']))
        self.assertTrue(answer['messages'][1]['content'].startswith('149 \u00e4 "quoted" long'))
        self.assertRegex(answer['messages'][0]['timestamp'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        messages = a.json('GET', '/v1/messages?limit=1000', headers=session)[1]['messages']
        self.assertEqual([m['content'].split()[0] for m in messages], [w for i in range(150) for w in (str(i), f'ECHO({i + 1}):')])
        self.assertEqual(len(a.json('GET', '/v1/messages', headers=session)[1]['messages']), 200)
        # A line cut short by a crash was never said.
        with open(a.state / 'agents/main/sessions/topic%3Ax.jsonl', 'a') as f:
            f.write('{"role":"user","content":"ha')
        self.assertEqual(a.json('GET', '/v1/messages?limit=1000', headers=session)[1]['messages'], messages)
        for path in ('/v1/messages?limit=0', '/v1/messages?limit=1001', '/v1/messages?limit=x', '/v1/messages?x=1'):
            self.assertEqual(a.json('GET', path, headers=session)[0], 400, path)
        self.assertEqual(a.json('GET', '/v1/messages')[0], 400)
        self.assertEqual(a.json('GET', '/v1/messages', headers=session, token=None)[0], 401)

    def test_keep_alive_and_pipelining(self):
        a = self.agent()
        c = a.connect()
        for _ in range(50):
            self.assertEqual(a.request('GET', '/healthz', connection=c)[0].status, 200)
        c.close()
        many = b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' * 500 + b'GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
        self.assertEqual(a.raw(many).count(b'HTTP/1.1 200 OK'), 501)
        answer = a.raw(b'GET /healthz HTTP/1.0\r\n\r\n')
        self.assertTrue(answer.startswith(b'HTTP/1.1 200 OK') and b'Connection: close' in answer)

    def test_expect_continue(self):
        a = self.agent()
        body = json.dumps({'messages': [{'role': 'user', 'content': 'later'}]}).encode()
        head = (f'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\n'
                f'Connection: close\r\nContent-Length: {len(body)}\r\n\r\n').encode()
        with socket.create_connection(('127.0.0.1', a.port), timeout=5) as s:
            s.sendall(head)
            self.assertEqual(s.recv(100), b'HTTP/1.1 100 Continue\r\n\r\n')
            s.sendall(body)
            answer = b''
            while chunk := s.recv(65536):
                answer += chunk
        self.assertIn(b'ECHO(1): later', answer)


class Chat(Case):
    def test_it_echoes_and_counts_by_session(self):
        a = self.agent()
        self.assertEqual(a.chat('one', 'agent:main:web-1'), 'ECHO(1): one')
        self.assertEqual(a.chat('two', 'agent:main:web-1'), 'ECHO(2): two')
        self.assertEqual(a.chat('one', 'agent:main:web-2'), 'ECHO(1): one')
        self.assertEqual(a.chat('by user', user='alice'), 'ECHO(1): by user')
        self.assertEqual(a.chat('by user', user='alice'), 'ECHO(2): by user')
        self.assertEqual(a.chat('the header wins', 'agent:main:web-1', user='alice'), 'ECHO(3): the header wins')
        self.assertEqual(a.chat('fresh'), 'ECHO(1): fresh')
        self.assertEqual(a.chat('fresh'), 'ECHO(1): fresh')
        status, answer = a.json('GET', '/v1/sessions')
        counts = {s['key']: s['messages'] for s in answer['sessions']}
        self.assertEqual((status, answer['total']), (200, 5))
        self.assertEqual((counts['agent:main:web-1'], counts['agent:main:web-2'], counts['alice']), (6, 2, 4))
        for session in answer['sessions']:
            self.assertLess(abs(session['updatedAt'] / 1000 - time.time()), 60)
        lines = [json.loads(line) for line in
                 (a.state / 'agents/main/sessions/agent%3Amain%3Aweb-1.jsonl').read_text().splitlines()]
        self.assertEqual([(l['role'], l['content']) for l in lines[:2]], [('user', 'one'), ('assistant', 'ECHO(1): one')])
        self.assertEqual(set(lines[0]), {'role', 'content', 'timestamp'})

    def test_the_answer_has_the_openai_shape(self):
        a = self.agent()
        status, answer = a.json('POST', '/v1/chat/completions', {'model': 'openclaw', 'messages': [
            {'role': 'system', 'content': 'be brief'}, {'role': 'user', 'content': 'old'},
            {'role': 'assistant', 'content': 'ok'},
            {'role': 'user', 'content': [{'type': 'text', 'text': 'a'}, {'type': 'image_url', 'image_url': {'url': 'x'}},
                                         {'type': 'text', 'text': 'b'}]}, {'role': 'assistant', 'content': None}]})
        self.assertEqual(status, 200)
        self.assertRegex(answer['id'], r'^chatcmpl_[0-9a-f]{32}$')
        self.assertEqual((answer['object'], answer['model']), ('chat.completion', 'reference/echo'))
        self.assertEqual(answer['choices'], [{'index': 0, 'message': {'role': 'assistant', 'content': 'ECHO(1): a\nb'},
                                              'finish_reason': 'stop'}])
        self.assertEqual(answer['usage']['total_tokens'],
                         answer['usage']['prompt_tokens'] + answer['usage']['completion_tokens'])
        self.assertLess(abs(answer['created'] - time.time()), 60)

    def test_it_streams(self):
        a = self.agent()
        text = 'streamed ✓ "quoted" \\ 😀\n' * 20
        c = a.connect()
        for n in (1, 2):
            response, data = a.request('POST', '/v1/chat/completions', {
                'stream': True, 'user': 's', 'messages': [{'role': 'user', 'content': text}]}, connection=c)
            self.assertEqual(response.headers['Content-Type'], 'text/event-stream')
            events = data.decode().split('\n\n')
            self.assertEqual(events[-2:], ['data: [DONE]', ''])
            chunks = [json.loads(e[len('data: '):]) for e in events[:-2]]
            self.assertEqual({c['object'] for c in chunks}, {'chat.completion.chunk'})
            self.assertEqual(len({c['id'] for c in chunks}), 1)
            self.assertEqual(chunks[0]['choices'][0]['delta'], {'role': 'assistant'})
            self.assertEqual([c['choices'][0]['finish_reason'] for c in chunks], [None] * (len(chunks) - 1) + ['stop'])
            self.assertGreater(len(chunks), 4)
            self.assertEqual(''.join(c['choices'][0]['delta'].get('content', '') for c in chunks), f'ECHO({n}): {text}')

    def test_any_text_survives(self):
        a = self.agent()
        texts = ['"\\/\b\f\n\r\t', '\x00\x01\x1f\x7f\x80', 'é ü ß', '漢字', '😀🏳️‍🌈', '\ufffe\uffff\U0010ffff', ' ', '{"a":[1]}', '%s%n%x']
        texts.append(''.join(chr(random.choice([random.randrange(0xD800), random.randrange(0xE000, 0x110000)])) for _ in range(3000)))
        for i, text in enumerate(texts):
            for raw in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
                body = '{"user":"t%d-%d","messages":[{"role":"user","content":%s}]}' % (i, len(raw), raw)
                status, answer = a.json('POST', '/v1/chat/completions', body)
                self.assertEqual(status, 200)
                n = answer['choices'][0]['message']['content']
                self.assertEqual(re.sub(r'^ECHO\(\d+\): ', '', n), text)
        status, answer = a.json('POST', '/v1/chat/completions',
                                r'{"\u0075ser":"x","messages":[{"role":"us\u0065r","content":"\ud83d\ude00\u00e9\u20AC\/"}]}')
        self.assertEqual(answer['choices'][0]['message']['content'], 'ECHO(1): 😀é€/')

    def test_any_key_is_a_safe_file_name(self):
        a = self.agent()
        keys = ['../../../etc/passwd', '..', '.', '.hidden', 'a/b', 'a%2Fb', 'ключ', 'x' * 200, 'with space', '%', 'a"b\\c']
        for key in keys:
            self.assertEqual(a.chat('x', user=key), 'ECHO(1): x')
            self.assertEqual(a.chat('x', user=key), 'ECHO(2): x')
        names = os.listdir(a.state / 'agents/main/sessions')
        self.assertEqual(len(names), len(keys))
        self.assertEqual(sorted(os.listdir(a.state)), ['agents', 'config.json'])
        self.assertEqual({s['key'] for s in a.json('GET', '/v1/sessions')[1]['sessions']}, set(keys))
        body = {'messages': [{'role': 'user', 'content': 'x'}], 'user': 'y' * 300}
        self.assertEqual(a.json('POST', '/v1/chat/completions', body)[0], 400)
        self.assertEqual(a.json('POST', '/v1/chat/completions', {'messages': body['messages']},
                                {'x-openclaw-session-key': ''})[0], 400)

    def test_bad_bodies_are_refused_and_nothing_is_kept(self):
        a = self.agent()
        good = '{"role":"user","content":"x"}'
        bad = ['', '{', '[]', '1', 'null', '{"messages":[]}', '{"messages":{}}', '{"messages":[1]}', '{"messages":[{"role":1}]}',
               '{"messages":[{"role":"user"}]}', '{"messages":[{"role":"user","content":5}]}',
               '{"messages":[{"role":"assistant","content":"x"}]}', '{"messages":[%s],}' % good, '{"messages":[%s,]}' % good,
               '{"messages":[%s]} x' % good, "{'messages':[]}", '{"messages":[{"role":"user","content":"\\ud800"}]}',
               '{"messages":[{"role":"user","content":"\\ud800\\u0041"}]}', '{"messages":[{"role":"user","content":"\\udc00"}]}',
               '{"messages":[{"role":"user","content":"\\x41"}]}', '{"messages":[{"role":"user","content":"\\u12g4"}]}',
               '{"messages":[{"role":"user","content":"a\nb"}]}', '{"messages":[%s],"n":01}' % good,
               '{"messages":[%s],"n":+1}' % good, '{"messages":[%s],"n":1.}' % good, '{"messages":[%s],"n":.5}' % good,
               '{"messages":[%s],"n":1e}' % good, '{"messages":[%s],"n":NaN}' % good, '{"messages":[%s],"n":tru}' % good,
               '{"messages":[%s],"stream":"yes"}' % good, '{"messages":[%s],"user":7}' % good, '[' * 5000, '{"a":' * 5000,
               '[' + '0,' * 200000 + '0]', '\ufeff{"messages":[%s]}' % good]
        raw = [b'{"messages":[{"role":"user","content":"\xff"}]}', b'{"messages":[{"role":"user","content":"\xc0\x80"}]}',
               b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}', b'{"messages":[{"role":"user","content":"\xf4\x90\x80\x80"}]}',
               b'{"messages":[{"role":"user","content":"\xe2\x82', b'\x00' * 100]
        for body in bad + raw:
            status, answer = a.json('POST', '/v1/chat/completions', body)
            self.assertEqual((status, answer['error']['type']), (400, 'invalid_request_error'), body[:80])
        self.assertEqual(os.listdir(a.state / 'agents/main/sessions'), [])
        for body in ('{"n":[-0,0.5e+10,1E-2,true,false,null,{}],"messages":[%s]}' % good,
                     ' \t\r\n{"messages":[{"role":"user","content":"y"}],"messages" : [ %s ] } \n' % good):
            self.assertEqual(a.json('POST', '/v1/chat/completions', body)[1]['choices'][0]['message']['content'], 'ECHO(1): x')

    def test_a_large_message(self):
        a = self.agent()
        text = 'x' * (1024 * 1024)
        self.assertEqual(a.chat(text, 'big'), 'ECHO(1): ' + text)
        answer = a.raw(f'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n'
                       f'Content-Length: {1 << 40}\r\n\r\n'.encode() + b'x' * 3_000_000)
        self.assertTrue(answer.startswith(b'HTTP/1.1 413 '), answer[:50])


class Memory(Case):
    def test_nothing_answered_is_lost_to_kill_9(self):
        a = self.agent()
        last = [0]

        def talk():
            try:
                for i in range(10000):
                    last[0] = int(re.match(r'ECHO\((\d+)\)', a.chat(f'm{i}', 'k')).group(1))
            except (OSError, http.client.HTTPException):
                pass

        for round_number in range(3):
            t = threading.Thread(target=talk)
            t.start()
            time.sleep(0.4)
            a.process.send_signal(signal.SIGKILL)
            t.join()
            a.exit_code()
            a.process.stdout.close()
            before = last[0]
            a.start()
            n = int(re.match(r'ECHO\((\d+)\)', a.chat('again', 'k')).group(1))
            # One more than the last answer, or two: the last request may have been kept without its answer arriving.
            self.assertIn(n - before, (1, 2))
            last[0] = n
        self.assertGreater(last[0], 5)

    def test_a_torn_line_is_cut_off(self):
        a = self.agent()
        a.chat('one', 'torn')
        path = a.state / 'agents/main/sessions/torn.jsonl'
        a.stop()
        with path.open('a') as f:
            f.write('{"role":"user","content":"tor')
        a.start()
        self.assertEqual(a.chat('two', 'torn'), 'ECHO(2): two')
        self.assertEqual([json.loads(l)['content'] for l in path.read_text().splitlines()],
                         ['one', 'ECHO(1): one', 'two', 'ECHO(2): two'])

    def test_deleting_the_sessions_clears_the_memory_even_while_it_runs(self):
        a = self.agent()
        a.chat('one', 's')
        folder = a.state / 'agents/main/sessions'
        for path in folder.iterdir():
            path.unlink()
        self.assertEqual(a.chat('two', 's'), 'ECHO(1): two')
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.parent.rmdir()
        self.assertEqual(a.json('GET', '/v1/sessions'), (200, {'sessions': [], 'total': 0}))
        self.assertEqual(a.chat('three', 's'), 'ECHO(1): three')

    def test_a_user_message_inside_a_message_is_not_counted(self):
        a = self.agent()
        a.chat('{"role":"user","content":"x"}\n{"role":"user","content":"y"}', 's')
        a.stop()
        a.start()
        self.assertEqual(a.chat('next', 's'), 'ECHO(2): next')


class Configuration(Case):
    def test_it_does_not_start_without_a_usable_configuration(self):
        for raw, reason in (('{', 'invalid JSON at byte 1'), ('[]', 'not a JSON object'), ('{}', 'gateway.token is required'),
                            ('{"gateway":{"token":""}}', 'gateway.token is required'),
                            ('{"gateway":{"token":5}}', 'gateway.token must be a string'),
                            ('{"gateway":[]}', 'gateway must be an object'),
                            ('{"gateway":{"token":"t"},"fail":"often"}', 'fail must be one of'),
                            ('{"gateway":{"token":"t"},"ready_delay_ms":-1}', 'ready_delay_ms must be'),
                            ('{"gateway":{"token":"t"},"ready_delay_ms":1.5}', 'ready_delay_ms must be')):
            a = Agent(raw=raw, wait=False)
            self.assertEqual(a.exit_code(), 78, raw)
            self.assertEqual([(l['level'], l['message']) for l in a.log],
                             [('error', 'config.json cannot be used, nothing to start with')])
            self.assertIn(reason, a.log[0]['reason'])
            a.close()
        a = Agent(raw='{}', wait=False)
        a.stop()
        (a.state / 'config.json').unlink()
        a.start(wait=False)
        self.assertEqual(a.exit_code(), 78)
        self.assertEqual(a.log[0]['reason'], 'the file does not exist')
        a.close()

    def test_a_changed_configuration_comes_into_force_and_a_bad_one_does_not(self):
        a = self.agent()
        a.configure({'model': 'other/model'}, token='second-token')
        self.assertEqual(a.wait_log('is in force')['model'], 'other/model')
        self.assertEqual(a.json('GET', '/v1/sessions')[0], 401)
        self.assertEqual(a.json('GET', '/v1/sessions', token='second-token')[0], 200)
        (a.state / 'config.json').write_text('{"gateway":{"token":"third-token"}')
        line = a.wait_log('the last good one stays in force')
        self.assertEqual(line['level'], 'error')
        self.assertIn('invalid JSON', line['reason'])
        self.assertEqual(a.json('GET', '/v1/sessions', token='second-token')[0], 200)
        status, answer = a.json('GET', '/readyz', token='second-token')
        self.assertEqual((status, answer['ready'], len(answer['failing'])), (200, True, 1))
        self.assertIn('config: invalid JSON', answer['failing'][0])
        a.configure({})
        a.wait_log('is in force')
        time.sleep(1.2)
        self.assertEqual(a.json('GET', '/v1/sessions')[0], 200)
        self.assertEqual(a.json('GET', '/readyz')[1]['failing'], [])
        self.assertNotIn('third-token', json.dumps(a.log))

    def test_unknown_keys_are_named(self):
        a = self.agent({'colour': 'red'})
        self.assertEqual(a.wait_log('mean nothing here')['keys'], 'colour')


class Failing(Case):
    def test_exit(self):
        a = Agent({'fail': 'exit'}, wait=False)
        self.assertEqual(a.exit_code(), 3)
        self.assertEqual(a.log[-1]['level'], 'error')
        a.close()

    def test_unready_and_ready_again(self):
        a = self.agent({'fail': 'unready'})
        time.sleep(0.2)
        self.assertEqual(a.json('GET', '/readyz', token=None), (503, {'ready': False}))
        self.assertEqual(a.json('GET', '/healthz', token=None)[0], 200)
        a.configure({})
        a.wait_log('is in force')
        self.assertEqual(a.json('GET', '/readyz', token=None), (200, {'ready': True}))

    def test_hang(self):
        a = self.agent({'fail': 'hang'})
        c = a.connect(timeout=1)
        with self.assertRaises(socket.timeout):
            a.request('GET', '/healthz', connection=c)
        c.close()
        begin = time.monotonic()
        self.assertEqual(a.stop(), 0)
        self.assertLess(time.monotonic() - begin, 1)

    def test_oom_is_refused_where_it_would_take_the_host(self):
        for path in ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'):
            limit = Path(path).read_text().strip() if os.path.exists(path) else 'max'
            if limit != 'max' and int(limit) < 1 << 40:
                self.skipTest('a limit is set here, and would really be used up')
        a = self.agent({'fail': 'oom'})
        a.wait_log('refused')
        self.assertEqual(a.json('GET', '/healthz')[0], 200)

    def test_a_state_folder_that_cannot_be_written(self):
        with tempfile.TemporaryDirectory() as state:
            Path(state, 'agents').write_text('in the way')
            Path(state, 'config.json').write_text('{"gateway":{"token":"t"}}')
            a = Agent(state=state, wait=False)
            self.assertEqual(a.exit_code(), 73)
            a.close()


class Robustness(Case):
    def test_sigterm_ends_it_quickly_and_orderly(self):
        for sign in (signal.SIGTERM, signal.SIGINT):
            a = Agent()
            idle = [socket.create_connection(('127.0.0.1', a.port)) for _ in range(20)]
            idle[0].sendall(b'GET /healthz HTTP/1.1\r\n')
            time.sleep(0.05)
            begin = time.monotonic()
            a.process.send_signal(sign)
            self.assertEqual(a.exit_code(), 0)
            self.assertLess(time.monotonic() - begin, 0.3)
            self.assertEqual(a.log[-1]['message'], 'stopped')
            for s in idle:
                s.close()
            a.close()

    def test_malformed_requests_are_refused(self):
        a = self.agent()
        host = b'Host: a\r\n'
        for data, status in (
                (b'GARBAGE\r\n\r\n', 400), (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n', 400), (b'GET / HTTP/2.0\r\n\r\n', 505),
                (b'GET /healthz HTTP/1.1\r\n\r\n', 400), (b'GET /healthz HTTP/1.1\r\n' + host + host + b'\r\n', 400),
                (b'GET /healthz HTTP/1.1\r\n' + host + b'A : b\r\n\r\n', 400),
                (b'GET /healthz HTTP/1.1\r\n' + host + b'A: b\r\n folded\r\n\r\n', 400),
                (b'GET /healthz HTTP/1.1\r\n' + host + b'A: b\nC: d\r\n\r\n', 400),
                (b'GET /healthz HTTP/1.1\r\n' + host + b'A: \x01\r\n\r\n', 400),
                (b'GET /he althz HTTP/1.1\r\n' + host + b'\r\n', 400), (b'GET /\xff HTTP/1.1\r\n' + host + b'\r\n', 400),
                (b'G@T / HTTP/1.1\r\n' + host + b'\r\n', 400), (b'GET  HTTP/1.1\r\n' + host + b'\r\n', 400),
                (b'POST / HTTP/1.1\r\n' + host + b'Content-Length: 1\r\nContent-Length: 1\r\n\r\nx', 400),
                (b'POST / HTTP/1.1\r\n' + host + b'Content-Length: -1\r\n\r\nx', 400),
                (b'POST / HTTP/1.1\r\n' + host + b'Content-Length: 1, 1\r\n\r\nx', 400),
                (b'POST / HTTP/1.1\r\n' + host + b'Content-Length: 99999999999999999999999999\r\n\r\nx', 413),
                (b'POST / HTTP/1.1\r\n' + host + b'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx', 400),
                (b'POST / HTTP/1.1\r\n' + host + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 411),
                (b'POST / HTTP/1.1\r\n' + host + b'Expect: more\r\n\r\n', 417),
                (b'GET / HTTP/1.1\r\n' + host + b'A: ' + b'b' * 70000, 431),
                (b'G' * 70000, 431)):
            answer = a.raw(data)
            self.assertTrue(answer.startswith(b'HTTP/1.1 %d ' % status), (data[:60], answer[:60]))
            json.loads(answer.split(b'\r\n\r\n', 1)[1])
        self.assertEqual(a.json('GET', '/healthz')[0], 200)

    def test_garbage_never_ends_it(self):
        a = self.agent()
        rng = random.Random(20260313)
        seed = (b'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ' + TOKEN.encode() +
                b'\r\nContent-Length: 56\r\n\r\n{"messages":[{"role":"user","content":"\\ud83d\\ude00 a"}]}')
        for i in range(1500):
            data = bytearray(seed)
            for _ in range(rng.randrange(1, 8)):
                at = rng.randrange(len(data))
                kind = rng.randrange(3)
                if kind == 0:
                    data[at] = rng.randrange(256)
                elif kind == 1:
                    del data[at:at + rng.randrange(1, 9)]
                else:
                    data[at:at] = bytes(rng.choice(b'{}[]",:\\u0 \r\n\x00\xff') for _ in range(rng.randrange(1, 9)))
            a.raw(bytes(data), timeout=5, half_close=True)
        self.assertIsNone(a.process.poll())
        self.assertEqual(a.json('GET', '/healthz')[0], 200)
        self.assertLess(len(a.log), 1500)

    def test_slow_and_idle_clients_do_not_make_others_wait(self):
        a = self.agent()
        held = []
        try:
            for i in range(400):
                s = socket.create_connection(('127.0.0.1', a.port), timeout=5)
                s.sendall((b'', b'GET /healthz HT', b'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{')[i % 3])
                held.append(s)
            begin = time.monotonic()
            for _ in range(20):
                self.assertEqual(a.json('GET', '/healthz')[0], 200)
            self.assertLess(time.monotonic() - begin, 1)
            # One that asks for much and reads nothing.
            greedy = socket.create_connection(('127.0.0.1', a.port), timeout=5)
            held.append(greedy)
            greedy.setblocking(False)
            try:
                while True:
                    greedy.send(b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' * 1000)
            except BlockingIOError:
                pass
            self.assertEqual(a.chat('hello', 'x'), 'ECHO(1): hello')
            # All of them at once are answered, more than the agent has places for: idle ones make room.
            for _ in range(300):
                held.append(socket.create_connection(('127.0.0.1', a.port), timeout=5))
            self.assertEqual(a.json('GET', '/healthz')[0], 200)
        finally:
            for s in held:
                s.close()
        self.assertEqual(a.json('GET', '/healthz')[0], 200)

    def test_256_connections_at_work_at_a_time(self):
        a = self.agent()
        connections = [socket.create_connection(('127.0.0.1', a.port), timeout=10) for _ in range(256)]
        body = b'{"user":"u%d","messages":[{"role":"user","content":"hi"}]}'
        for i, s in enumerate(connections):
            data = body % i
            s.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s'
                      % (TOKEN.encode(), len(data), data))
        for s in connections:
            answer = s.recv(65536)
            self.assertTrue(answer.startswith(b'HTTP/1.1 200 OK'), answer[:60])
            self.assertIn(b'ECHO(1): hi', answer)
            s.close()

    def test_its_memory_is_bounded(self):
        a = self.agent()
        head = (f'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n'
                f'Content-Length: {2 * 1024 * 1024}\r\n\r\n').encode()
        held = []
        for _ in range(60):
            s = socket.create_connection(('127.0.0.1', a.port), timeout=5)
            held.append(s)
            s.sendall(head)
            # All but the last of the body, or as much as is taken until it is refused.
            left = 2 * 1024 * 1024 - 10
            while left > 0:
                readable, writable, _ = select.select([s], [s], [], 5)
                if readable:
                    break
                self.assertTrue(writable, 'a body is neither taken nor refused')
                left -= s.send(b' ' * min(left, 65536), socket.MSG_DONTWAIT)
        waiting, answers = set(held), 0
        while answers < 52:
            readable = select.select(waiting, [], [], 5)[0]
            self.assertTrue(readable, f'only {answers} were refused')
            for s in readable:
                self.assertRegex(s.recv(100), b'^HTTP/1.1 503 ')
                waiting.remove(s)
                answers += 1
        peak = int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{a.process.pid}/status').read_text()).group(1)) // 1024
        for s in held:
            s.close()
        self.assertLess(peak, 48)


if __name__ == '__main__':
    workspace = None
    if len(sys.argv) > 1 and not sys.argv[1].startswith('-'):
        BINARY = os.path.abspath(sys.argv.pop(1))
    else:
        workspace = tempfile.TemporaryDirectory()
        BINARY = build(workspace.name)
    unittest.main(warnings='ignore')
