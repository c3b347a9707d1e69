# Reads Meson's testlog.txt and names each test that failed, with its first reason: a line of a script that begins with
# FAIL, Criterion's [FAIL] with the message above it, what a sanitizer found; else the last line of output.
function tell() {
    if (name == "" || result == "exit status 0" || result == "exit status 77") return
    reason = reason == "" ? (last == "" ? result : result ": " last) : reason
    told[++count] = "  " name ": " reason (more ? " (and " more " more)" : "")
}
function found(text) {
    if (reason == "") reason = text
    else more++
}

/^=+ [0-9]+\/[0-9]+ =+$/ { tell(); name = result = reason = last = message = ""; more = 0; output = 0; next }
/^Summary of Failures:/ { exit }
!output && /^test: / { name = $0; sub(/^test: */, "", name); sub(/^.* \/ /, "", name); next }
!output && /^result: / { result = $0; sub(/^result: */, "", result); next }
/^-+ (stdout|stderr|output) -+$/ { output = 1; next }
/^=+$/ || !output { next }

{ gsub(/\033\[[0-9;]*m/, ""); gsub(/^\.\.\/|  *$/, "") }
/^\[----\] *[^ ]/ {
    sub(/^\[----\] */, "")
    sub(/^(\.\.\/)+/, "")
    sub(/: Assertion Failed$/, "")
    if (message == "") message = $0
    else if (message !~ /: .*: /) message = message ": " $0
}
/^\[FAIL\]/ {
    sub(/^\[FAIL\] */, "")
    sub(/: \([0-9.]*s\)$/, "")
    found($0 (message == "" ? "" : ": " message))
    message = ""
}
/^\[PASS\]|^\[RUN \]/ { message = "" }
/^FAIL(ED)?[: ]/ { sub(/^FAIL(ED)?[: ] */, ""); found($0) }
/ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|: runtime error: / { found($0) }
NF { last = $0 }

END {
    tell()
    if (!count) exit
    print "sampo: " (count == 1 ? "a test" : count " tests") " failed:"
    for (i = 1; i <= count; i++) print told[i]
}
