# Prints program number n of a page: a block that begins with ```c. With -v output=1: what the page says that it prints, the
# next block of ```text.
/^```c$/ { count++ }
/^```(c|text)$/ { on = count == n && ($0 == "```text") == !!output; next }
/^```$/ { on = 0 }
on
