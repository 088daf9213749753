import { commands } from '../commands.ts'
import type { CommandWords, Words } from './grammar.ts'

/**
 * bash and zsh read the same table: a function that says what may stand behind a path of commands. A value is written
 * `FLAG:SOURCE`; a source is `nothing`, `files`, `directories`, `fleet=KIND` or `list=a,b`.
 */
function table(all: readonly CommandWords[]): string {
  const rows = all.map(({ path, options, subcommands, arguments: given, variadic }) => {
    const flags = options.flatMap(option => option.flags)
    const values = options.flatMap(({ flags, value }) =>
      value ? flags.map(flag => `${flag}:${source(value)}`) : [],
    )
    const places = given.map((words, i) => source(words) + (variadic && i === given.length - 1 ? '*' : ''))
    return `    '${path.join(' ')}') subcommands='${subcommands.join(' ')}' flags='${flags.join(' ')}' values='${values.join(' ')}' places='${places.join(' ')}' ;;`
  })
  const first = commands.map(({ name }) => name).join(' ')
  return [
    '__fleetcat_table() {',
    '  case "$1" in',
    `    '') subcommands='${first}' flags='--help --version' values='--context:fleet=contexts' places='' ;;`,
    ...rows,
    "    *) subcommands='' flags='' values='' places='' ;;",
    '  esac',
    '}',
  ].join('\n')
}

function source(words: Words): string {
  if (words.from === 'fleet') return `fleet=${words.kind}`
  return words.from === 'list' ? `list=${words.words.join(',')}` : words.from
}

/** Finds out what is being typed; leaves the source of words for it in `wanted`. */
const state = String.raw`__fleetcat_state() {
  # Arguments: the words before the one that is being typed, without the first. Reads: typed, prefix. Sets: wanted.
  local subcommands flags values places word behind='' skip='' n=0 entry place
  __fleetcat_table ''
  for word in "$@"; do
    if [ -n "$skip" ]; then skip=''; continue; fi
    case "$word" in
      -*)
        for entry in $(__fleetcat_split "$values"); do
          if [ "$entry" != "\${entry#"$word":}" ]; then skip="\${entry#"$word":}"; fi
        done
        ;;
      *)
        case " $subcommands " in
          *" $word "*) behind="\${behind:+$behind }$word"; __fleetcat_table "$behind" ;;
          *) n=$((n + 1)) ;;
        esac
        ;;
    esac
  done
  if [ -n "$skip" ]; then wanted=$skip; return; fi
  wanted=nothing
  if [ -n "$prefix" ]; then return; fi
  case "$typed" in
    -*) wanted="list=$flags"; return ;;
  esac
  if [ -n "$subcommands" ] && [ "$n" -eq 0 ]; then wanted="list=$subcommands"; return; fi
  for place in $(__fleetcat_split "$places"); do
    case "$place" in
      *\*) wanted=\${place%?}; return ;;
    esac
    if [ "$n" -eq 0 ]; then wanted=$place; return; fi
    n=$((n - 1))
  done
}
__fleetcat_split() { printf '%s\n' "$1" | tr ' ' '\n'; }
__fleetcat_words() {
  case "$1" in
    fleet=*) fleetcat __complete "\${1#fleet=}" 2>/dev/null ;;
    list=*) printf '%s\n' "\${1#list=}" | tr ', ' '\n\n' ;;
  esac
}`.replaceAll('\\${', '${')

export const bash = (
  all: readonly CommandWords[],
): string => `# fleetcat for bash. Load it with: source <(fleetcat completion bash)
${table(all)}
${state}
_fleetcat() {
  # Split at blanks only: bash itself would also split addresses at their colons.
  local line=\${COMP_LINE:0:COMP_POINT} wanted typed='' prefix='' words
  read -ra words <<< "$line"
  case "$line" in
    *[[:space:]]) ;;
    *) typed=\${words[\${#words[@]} - 1]}; unset "words[\${#words[@]} - 1]" ;;
  esac
  case "$typed" in
    --*=*) prefix=\${typed%%=*}=; words+=("\${typed%%=*}"); typed=\${typed#*=} ;;
  esac
  COMPREPLY=()
  __fleetcat_state "\${words[@]:1}"
  # Where = breaks words, bash replaces only what stands behind it.
  case "$COMP_WORDBREAKS" in
    *=*) prefix='' ;;
  esac
  case "$wanted" in
    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -P "$prefix" -f -- "$typed") ;;
    directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -P "$prefix" -d -- "$typed") ;;
    nothing) ;;
    *) mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$(__fleetcat_words "$wanted")" -- "$typed") ;;
  esac
}
complete -F _fleetcat fleetcat
`

export const zsh = (all: readonly CommandWords[]): string => `#compdef fleetcat
# fleetcat for zsh. Load it with: source <(fleetcat completion zsh)
${table(all)}
${state}
_fleetcat() {
  local wanted typed=\${words[CURRENT]} prefix=''
  local -a before found
  before=("\${(@)words[2,CURRENT-1]}")
  (( CURRENT > 2 )) || before=()
  case "$typed" in
    --*=*) prefix=\${typed%%=*}=; before+=("\${typed%%=*}"); typed=\${typed#*=}; compset -P '*=' ;;
  esac
  __fleetcat_state "\${before[@]}"
  case "$wanted" in
    files) _files ;;
    directories) _files -/ ;;
    nothing) ;;
    *) found=("\${(@f)$(__fleetcat_words "$wanted")}"); compadd -a found ;;
  esac
}
compdef _fleetcat fleetcat
`
