"""Pure: the scripts that make bash and zsh ask the program itself what a TAB may offer.

The program is run as `PROGRAM __complete -- WORD...` with the words up to the cursor, quotes and
backslashes as they were typed (no shell evaluates a line that is not finished), and answers a
line each: a kind (`word`, `path`, `dir`, `local`), a tab, the text.  `path` and `dir` are remote
names, `dir` ends in a slash and takes no space after it; `local` means: offer local files too.
"""

from collections.abc import Mapping
from typing import Final

BASH: Final = r"""# @program@ completion for bash:  eval "$(@program@ completion bash)"
_@program@_complete() {
    local kind text words cut
    COMPREPLY=()
    # COMP_WORDS is cut at = and :, which options and names may hold: put them together again.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cur cword
        _get_comp_words_by_ref -n =: -c cur -i cword -w words 2>/dev/null
        words=("${words[@]:1:cword}")
    else
        words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    fi
    cut="${words[${#words[@]}-1]}"
    while IFS=$'\t' read -r kind text; do
        case $kind in
            word|path) COMPREPLY+=("$(printf '%q ' "$text")") ;;
            dir) COMPREPLY+=("$(printf '%q' "$text")") ;;
            local) compopt -o filenames; compopt +o nospace
                   mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cut") ;;
        esac
    done < <(@program@ __complete -- "${words[@]}" 2>/dev/null)
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cut"
    return 0
}
complete -o nospace -F _@program@_complete @program@
"""

ZSH: Final = r"""# @program@ completion for zsh:  eval "$(@program@ completion zsh)"
_@program@_complete() {
    local kind text
    local -a plain open
    while IFS=$'\t' read -r kind text; do
        case $kind in
            word|path) plain+=("$text") ;;
            dir) open+=("$text") ;;
            local) _files ;;
        esac
    done < <(@program@ __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    (( $#plain )) && compadd -- "${plain[@]}"
    (( $#open )) && compadd -S '' -- "${open[@]}"
    return 0
}
compdef _@program@_complete @program@
"""

SCRIPTS: Final[Mapping[str, str]] = {"bash": BASH, "zsh": ZSH}
