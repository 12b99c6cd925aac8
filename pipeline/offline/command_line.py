"""The command that made a model, for its record."""

import shlex

import click
from click.core import ParameterSource


def command_line(context: click.Context) -> str:
    """Return the command as it was given, for the record."""
    words = ["vmafx-sidecar", context.command.name or ""]
    for parameter in context.command.get_params(context):
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name or ""]
        option = [] if isinstance(parameter, click.Argument) else [max(parameter.opts, key=len)]
        for each in value if isinstance(value, tuple) else (value,):
            words += option if each is True else [*option, str(each)]
    return shlex.join(words)
