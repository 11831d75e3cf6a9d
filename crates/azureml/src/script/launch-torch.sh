
# The libtorch of the job's environment: $LIBTORCH, else that of its Python, else one on the loader's own path.
wanted='{torch}'
fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 78
}
needs="this program was built with tch {tch}${wanted:+ and needs libtorch $wanted}"
torch=
version=
if [ -n "${LIBTORCH:-}" ]; then
    torch=$LIBTORCH
    [ -e "$torch/lib/libtorch_cpu.so" ] || fail "LIBTORCH is $torch, where there is no lib/libtorch_cpu.so; $needs" \
        "unset LIBTORCH, or let it name the folder of libtorch${wanted:+ $wanted}"
else
    for python in python3 python; do
        command -v "$python" >/dev/null 2>&1 || continue
        torch=$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) && break
        torch=
    done
fi
if [ -n "$torch" ]; then
    if [ -r "$torch/build-version" ]; then
        version=$(cat "$torch/build-version")
    elif [ -r "$torch/version.py" ]; then
        version=$(sed -n "s/^__version__ *= *['\"]\([^'\"]*\)['\"].*/\1/p" "$torch/version.py")
    fi
    if [ -n "$wanted" ] && [ -n "$version" ]; then
        case $version in
            "$wanted" | "$wanted".* | "$wanted"+*) ;;
            *) fail "$needs, but the environment has $version in $torch" \
                "use an environment with PyTorch $wanted, or build the program with the tch for libtorch $version" ;;
        esac
    fi
    LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
else
    found=
    old=$IFS
    IFS=:
    for folder in ${LD_LIBRARY_PATH:-} /usr/local/lib /usr/lib /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu; do
        [ -e "$folder/libtorch_cpu.so" ] && found=$folder && break
    done
    IFS=$old
    [ -n "$found" ] || fail "the job's environment has no libtorch; $needs" \
        "use an environment with PyTorch${wanted:+ $wanted}, or set LIBTORCH to the folder of libtorch"
fi

