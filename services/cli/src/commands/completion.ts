import type { Command } from 'commander';
import { EXIT_STATUS, print, type Terminal } from '../terminal.ts';

/** Each asks `zl complete` with the words up to the cursor, so that none knows a command itself. */
const SCRIPTS = {
  bash: `_zl() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -o default -W "$(zl complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _zl zl ./zl`,
  zsh: `#compdef zl
_zl() {
  local -a names
  names=("\${(@f)$(zl complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -- $names || _files
}
compdef _zl zl`,
  fish: `complete -c zl -a '(zl complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'`,
} as const;

export type Shell = keyof typeof SCRIPTS;
export const SHELLS = ['bash', 'zsh', 'fish'] as const satisfies readonly Shell[];

export function completion(terminal: Terminal, shell: Shell): number {
  print(terminal, SCRIPTS[shell]);
  return EXIT_STATUS.ok;
}

/** What may stand in the place of the last word. */
export function candidates(program: Command, words: readonly string[]): string[] {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? '';
  let command = program;
  for (const word of before) {
    command = command.commands.find((each) => each.name() === word) ?? command;
  }
  const help = command.createHelp();
  const commands = help.visibleCommands(command).map((each) => each.name());
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const options = help.visibleOptions(command).flatMap(({ long }) => long ?? []);
  const names = current.startsWith('-') ? options : [...commands, ...choices];
  return names.filter((name) => name.startsWith(current));
}
