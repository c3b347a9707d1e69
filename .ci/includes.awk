# The rule of includes: each folder includes only itself and what is below it, and what is private to a folder
# (*_internal.h) stays inside it; a test also sees what is private to the folder that it mirrors.
BEGIN {
    count = split("tensor autograd nn models", order)
    for (i = 1; i <= count; i++) floor[order[i]] = i
}

FNR == 1 {
    folder = FILENAME
    sub(/^\.\//, "", folder)
    test = sub(/^tests\//, "", folder)
    sub(/\/[^\/]*$/, "", folder)
    own = folder
    sub(/\/.*/, "", own)
    header = FILENAME ~ /^include\/sampo\//
    if (header) {
        own = FILENAME
        sub(/.*\//, "", own)
        sub(/\.h$/, "", own)
    }
}

/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    path = $0
    sub(/^[^"<]*["<]/, "", path)
    sub(/[">].*/, "", path)
    at = path
    if (sub(/^sampo\//, "", at)) sub(/\.h$/, "", at)
    else sub(/\/.*/, "", at)
    if (!test && (own in floor) && (at in floor) && floor[at] > floor[own])
        bad(own "/ is below " at "/")
    if (path ~ /_internal\.h$/) {
        place = path
        if (!sub(/\/[^\/]*$/, "", place)) place = folder
        inside = index(folder "/", place "/") == 1 || (test && index(place "/", own "/") == 1)
        if (!inside) bad("it is private to " place "/")
    }
}

function bad(why) { print FILENAME ":" FNR ": includes " path ", but " why; failed = 1 }
END { exit failed }
