import subprocess
import sys

import pytest

from yxanul.base.chat import (
    CHAT_TEMPLATES,
    NoChat,
    check_chat_template,
    render_chat,
    source_of,
    special_tokens_of,
)
from yxanul.base.errors import YxanulError

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi\n"},
    {"role": "assistant", "content": "Hello!"},
]
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
LLAMA = (
    "{{- bos_token }}\n"
    "{%- for message in messages %}\n"
    "    {%- if message['role'] == 'tool' %}{% continue %}{% endif %}\n"
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}\n"
)


def test_plain():
    text = "system: Be kind.\n\nuser: Hi\n\n\nassistant: Hello!"
    assert render_chat(CHAT, "plain") == text
    assert render_chat(CHAT[:2], "plain", True) == "system: Be kind.\n\nuser: Hi\n\n\nassistant:"
    assert render_chat(SHAREGPT, "plain") == "human: Hi\n\ngpt: Hello!"


@pytest.mark.parametrize("chat", [[], CHAT[:1], CHAT])
def test_plain_is_the_same_as_its_template(chat):
    assert render_chat(chat, "plain") == render_chat(chat, CHAT_TEMPLATES["plain"])


def test_chatml():
    text = (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
    )
    assert render_chat(CHAT, "chatml") == text
    assert render_chat(CHAT[:2], "chatml", True) == text.removesuffix("Hello!<|im_end|>\n")
    assert render_chat(SHAREGPT, "chatml") == render_chat(
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "chatml"
    )
    assert render_chat([], "chatml") == ""


def test_a_jinja_source_as_models_have_it():
    assert render_chat([CHAT[1], {"role": "tool", "content": "3"}], LLAMA, True) == (
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    source = "{% for m in messages %}{{ m.thinking is defined }}{{ m | tojson }}{% endfor %}"
    message = {"role": "user", "content": "<é>", "thinking": None}
    assert render_chat([message], source) == 'False{"role": "user", "content": "<é>"}'


def test_contents_in_blocks():
    blocks = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"value": "b"}, "c"]}]
    assert render_chat(blocks, "chatml") == "<|im_start|>user\na\nb\nc<|im_end|>\n"
    silent = [{"role": "assistant", "content": None, "tool_calls": [1]}]
    assert render_chat(silent, "plain") == "assistant: "


@pytest.mark.parametrize("chat", [["text"], [{"content": "a"}], [{"role": "user", "content": 3}]])
@pytest.mark.parametrize("template", list(CHAT_TEMPLATES))
def test_what_is_no_chat(chat, template):
    with pytest.raises(NoChat):
        render_chat(chat, template)


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}{{ messages }}",
        "{{ messages[7].content + '' }}",
        "{{ 1 / (messages | length - 3) }}",
        "{{ messages.__class__.__mro__ }}{{ ().__class__.__subclasses__() }}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_template_that_refuses(source):
    with pytest.raises(YxanulError, match="failed") as caught:
        render_chat(CHAT, source)
    assert "\n" not in str(caught.value)


def test_special_tokens():
    assert special_tokens_of("plain") == ()
    assert special_tokens_of("chatml") == ("<|im_start|>", "<|im_end|>")
    assert special_tokens_of(LLAMA) == ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def test_checking():
    for template in [*CHAT_TEMPLATES, LLAMA]:
        check_chat_template(template)
    assert source_of("chatml") == CHAT_TEMPLATES["chatml"]
    with pytest.raises(YxanulError, match=r"'chatlm'.*'chatml'"):
        check_chat_template("chatlm")
    with pytest.raises(YxanulError, match=r"not valid Jinja; got .*line 2"):
        check_chat_template("{% for m in messages %}\n{{ m.role }")
    with pytest.raises(YxanulError, match="'messages'"):
        check_chat_template("{{ message.role }}")


def test_the_same_as_transformers():
    chat_template = pytest.importorskip("transformers.utils.chat_template_utils")
    for source in [*CHAT_TEMPLATES.values(), LLAMA]:
        compiled = chat_template._compile_jinja_template(source)
        for prompt in (False, True):
            expected = compiled.render(messages=CHAT, add_generation_prompt=prompt, bos_token="")
            assert render_chat(CHAT, source, prompt) == expected


def test_jinja_is_not_imported_before_it_is_needed():
    code = (
        "import sys, yxanul.base.chat as c; c.check_chat_template('chatml');"
        "c.render_chat([{'role': 'a', 'content': 'b'}], 'plain'); print('jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
