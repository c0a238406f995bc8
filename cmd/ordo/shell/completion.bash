# Completion of ordo for bash:
#   ordo completion bash > ~/.local/share/bash-completion/completions/ordo
# or for this shell alone: source <(ordo completion bash)
_ordo() {
    local cur=${COMP_WORDS[COMP_CWORD]} line files=
    COMPREPLY=()
    [[ $cur == = ]] && cur=
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "$cur")
    fi
}
complete -F _ordo ordo
