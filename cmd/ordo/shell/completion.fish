# Completion of ordo for fish:
#   ordo completion fish > ~/.config/fish/completions/ordo.fish
# or for this shell alone: ordo completion fish | source
function __ordo_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    for line in (command $words[1] __complete -- $words[2..-1] "$last" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$last"
        else
            echo $line
        end
    end
end
complete -c ordo -f -a '(__ordo_complete)'
