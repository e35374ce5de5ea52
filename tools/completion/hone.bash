# Completion of hone for bash: commands and options come from hone itself, so they are those of the
# version that is installed.
_hone() {
    local cur="${COMP_WORDS[COMP_CWORD]}" ask="$1"
    [ "$COMP_CWORD" = 1 ] || ask="$1 ${COMP_WORDS[1]}"
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ] || [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$($ask --help=words 2>/dev/null | cut -f1)" -- "$cur")
    fi
}
complete -o default -F _hone hone
