#compdef ordo
# Completion of ordo for zsh, which looks for it under this name in $fpath:
#   ordo completion zsh > "${fpath[1]}/_ordo"
# or for this shell alone: source <(ordo completion zsh)
_ordo() {
    local line files
    local -a found given
    given=("${(@Q)words[2,CURRENT]}")
    for line in "${(@f)$("${(Q)words[1]}" __complete -- "${given[@]}" 2>/dev/null)}"; do
        case $line in
            '') ;;
            :files) files=1 ;;
            *) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    if [[ -n $files ]]; then
        compset -P '--*='
        _files
    fi
    (( $#found )) && _describe -V ordo found
}
if [[ ${funcstack[1]} == _ordo ]]; then
    _ordo "$@"
else
    compdef _ordo ordo
fi
