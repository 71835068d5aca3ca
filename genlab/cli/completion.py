"""genlab completion: prints a script that teaches a shell to complete genlab's words."""

from __future__ import annotations

import argparse

from genlab.cli.options import Parser

BASH = """\
_genlab() {
  local line=${COMP_LINE:0:COMP_POINT} word
  word=${line##* }
  local IFS=$'\\n'
  COMPREPLY=($(genlab __complete "$line" 2>/dev/null))
  # readline replaces only what follows the last '='
  [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  return 0
}
complete -o default -F _genlab genlab
"""
ZSH = """\
#compdef genlab
_genlab() {
  local -a found
  found=("${(@f)$(genlab __complete "${BUFFER[1,CURSOR]}" 2>/dev/null)}")
  compadd -S '' -- ${(M)found:#*=}
  compadd -- ${found:#*=}
}
compdef _genlab genlab
"""
FISH = """\
complete -c genlab -f -a '(genlab __complete (commandline -cp) 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
EXAMPLES = """\
  eval "$(genlab completion bash)"          in ~/.bashrc
  eval "$(genlab completion zsh)"           in ~/.zshrc, after compinit
  genlab completion fish > ~/.config/fish/completions/genlab.fish
"""


def parser() -> Parser:
    parse = Parser("completion", "Print a completion script.", EXAMPLES)
    parse.add_argument("shell", choices=sorted(SCRIPTS))
    return parse


def run(options: argparse.Namespace) -> int:
    print(SCRIPTS[options.shell], end="")
    return 0
