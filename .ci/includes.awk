# The rule of includes: each folder, and each room of nn and of models/lm, includes only itself and what is below it; of a
# library others include the public headers alone; and what is private to a folder (*_internal.h) stays inside it. A test also
# sees what is private to the folder that it mirrors, and a fuzz target sees all.
BEGIN {
    count = split("tensor autograd nn nn/params nn/files nn/modules nn/optim nn/parallel nn/data models/lm/cli " \
        "models/lm/text models/lm/count models/lm/files models/lm/write models/lm/train models/lm/look models", order)
    for (i = 1; i <= count; i++) floor[order[i]] = i
    names = "tensor kernels windows arrange|autograd operations convolution creation indexing losses|" \
        "nn params modules recurrent transformer checkpoint optim parallel world data"
    for (i = split(names, each, "|"); i > 0; i--) {
        count = split(each[i], name, " ")
        for (j = 2; j <= count; j++) public[name[j]] = name[1]
    }
}

FNR == 1 {
    folder = FILENAME
    sub(/^\.\//, "", folder)
    test = sub(/^tests\//, "", folder)
    sub(/\/[^\/]*$/, "", folder)
    own = floor_name(folder)
    header = FILENAME ~ /^include\/sampo\//
    if (header) {
        own = FILENAME
        sub(/.*\//, "", own)
        own = public_floor(own)
    }
}

/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    path = $0
    sub(/^[^"<]*["<]/, "", path)
    sub(/[">].*/, "", path)
    at = path
    if (sub(/^sampo\//, "", at)) at = public_floor(at)
    else {
        sub(/\/[^\/]*$/, "", at)
        at = floor_name(at)
        if (at == "models" && own ~ /^models.lm./) at = "" # lm.h stands beside the rooms, between text and files
    }
    if (!test && (own in floor) && (at in floor) && floor[at] > floor[own])
        bad(own "/ is below " at "/")
    if (path ~ /^(tensor|autograd|nn)\// && substr(path, 1, index(path, "/")) != substr(folder "/", 1, index(folder "/", "/")))
        bad("what others use of it is in include/sampo/")
    else if (path ~ /_internal\.h$/) {
        place = path
        if (!sub(/\/[^\/]*$/, "", place)) place = folder
        inside = index(folder "/", place "/") == 1 || (test && (own == "fuzz" || index(place "/", own "/") == 1))
        if (!inside) bad("it is private to " place "/")
    }
}

# The floor that a folder stands on: a room, or the first part of its path.
function floor_name(folder) {
    if (folder in floor) return folder
    sub(/\/.*/, "", folder)
    return folder
}

# The floor of a public header, which is named after it unless listed above.
function public_floor(name) {
    sub(/\.h$/, "", name)
    return name in public ? public[name] : name
}

function bad(why) { print FILENAME ":" FNR ": includes " path ", but " why; failed = 1 }
END { exit failed }
