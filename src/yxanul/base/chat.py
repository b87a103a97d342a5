"""Chat templates: the built-in ones, and rendering messages as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from yxanul.base.errors import YxanulError, did_you_mean

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

CHAT_TEMPLATES = {
    "plain": """\
{% for message in messages %}
{{ message.role + ': ' + message.content }}
{%- if not loop.last or add_generation_prompt %}{{ '\\n\\n' }}{% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}""",
    "chatml": """\
{% for message in messages %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
}
"""Built-in Jinja templates, in the form that `transformers` stores with a tokenizer."""

# ShareGPT names of the roles.
_ROLES = {"human": "user", "gpt": "assistant"}
_MARK = re.compile(r"<\|[^\s|<>]+\|>")
_SIGNS = ("{{", "{%")


class NoChat(ValueError):
    """The value is not a list of messages."""


def render_chat(
    messages: Sequence[Mapping[str, Any]], template: str, add_generation_prompt: bool = False
) -> str:
    """Render messages (role and content, or from and value) as one text.

    `template` is a name from CHAT_TEMPLATES or a Jinja source. Raises NoChat for messages without a
    role or content, YxanulError if the template fails on them.
    """
    plain = template == "plain"
    normalized = [_message(message, keep_names=plain) for message in messages]
    if plain and not add_generation_prompt:
        return "\n\n".join(f"{one['role']}: {one['content']}" for one in normalized)
    from jinja2 import TemplateError

    values = {"bos_token": "", "eos_token": "", "add_generation_prompt": add_generation_prompt}
    try:
        return _compiled(source_of(template)).render(messages=normalized, **values)
    except (TemplateError, TypeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
        raise YxanulError("the chat template failed on the messages", got=error) from error


def source_of(template: str) -> str:
    """Return the Jinja source of a built-in template; a Jinja source is returned unchanged.

    Raises YxanulError for an unknown name, or a source without Jinja syntax.
    """
    if template in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[template]
    if not any(sign in template for sign in _SIGNS):
        raise YxanulError(
            f"unknown chat template '{template}'",
            expected=" or ".join([*CHAT_TEMPLATES, "a Jinja source"]),
            hint=did_you_mean(template, CHAT_TEMPLATES),
        )
    return template


def check_chat_template(template: str) -> None:
    """Raise YxanulError unless `template` is a built-in name or valid Jinja that uses messages."""
    source = source_of(template)
    if source is not template:
        return
    _compiled(source)
    from jinja2 import meta

    if "messages" not in meta.find_undeclared_variables(_environment().parse(source)):
        raise YxanulError("the chat template does not use 'messages'")


def special_tokens_of(template: str) -> tuple[str, ...]:
    """Return the distinct markers, such as <|im_start|>, in a template, in order."""
    return tuple(dict.fromkeys(_MARK.findall(source_of(template))))


def speaker_of(message: Mapping[str, Any]) -> str | None:
    """Return the speaker of a message, under either of its two common keys."""
    return message.get("role") or message.get("from")


def _message(message: Any, keep_names: bool) -> dict[str, Any]:
    """Return a message with role and content; its other keys stay available to the template."""
    if not isinstance(message, Mapping) or not isinstance(speaker := speaker_of(message), str):
        raise NoChat("a message without a role")
    content = message.get("content") if "content" in message else message.get("value")
    role = speaker if keep_names else _ROLES.get(speaker, speaker)
    # Rows of a table have all columns, many of them null.
    others = {key: value for key, value in message.items() if value is not None}
    return {**others, "role": role, "content": _text(content)}


def _text(content: Any) -> str:
    """Return a message's content: a string, null, or a list of text blocks."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise NoChat("a message without text")
    return "\n".join(map(_block, content))


def _block(block: Any) -> str:
    text = (block.get("text") or block.get("value")) if isinstance(block, Mapping) else block
    if not isinstance(text, str):
        raise NoChat("a block without text")
    return text


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().from_string(source)
    except TemplateSyntaxError as error:
        raise YxanulError(
            "the chat template is not valid Jinja", got=f"{error.message}, line {error.lineno}"
        ) from None


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """Return the Jinja environment that `transformers` templates expect.

    It provides no clock, so that the same messages always render to the same text.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # torch requires it

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
