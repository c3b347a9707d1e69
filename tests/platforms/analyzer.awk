# Reads what gcc -fanalyzer says and prints a line KIND:FILE for each warning. A warning of what a macro or an inlined function
# does has no file of its own; the first place on its way counts then.
function place(line) {
    match(line, /(tensor|autograd|nn|models)\/[a-z0-9_\/]*\.[ch]:[0-9]/)
    return RSTART ? substr(line, RSTART, RLENGTH - 2) : ""
}
/warning:.*\[-Wanalyzer-/ {
    kind = $NF
    gsub(/^\[-W|\]$/, "", kind)
}
kind && place($0) {
    print kind ":" place($0)
    kind = ""
}
