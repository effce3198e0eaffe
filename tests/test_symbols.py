"""The shared library exports ag_ and nn_ names alone and needs nothing but the C library; the
public headers compile on their own, as C11 and as C++17.

usage: test_symbols.py LIBRARY    (sources from TAPEGRAD_SOURCE_DIR, or the folder above this file)
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get('TAPEGRAD_SOURCE_DIR', pathlib.Path(__file__).parent.parent))
ALLOWED = re.compile(r'^(libc|libm|libpthread|ld-linux.*|ld64|ld-musl.*|libasan|libubsan|libtsan)\.so')
failures = 0


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True)


def check(ok, what, detail=''):
    global failures
    print(('ok    ' if ok else 'FAIL  ') + what)
    if not ok:
        failures += 1
        print(detail.rstrip())


def check_exports(library):
    result = run('nm', '-D', '--defined-only', library)
    names = [line.split()[-1] for line in result.stdout.splitlines()]
    own = [n for n in names if n.startswith(('ag_', 'nn_'))]
    # What a sanitizer brings along is not the library's.
    other = [n for n in names if n not in own and not n.startswith(('__asan', '__odr_asan', '_init', '_fini'))]
    check(result.returncode == 0 and len(own) > 50, f'{len(own)} names exported', result.stderr)
    check(not other, 'only ag_ and nn_ names exported', ' '.join(other))


def check_needed(library):
    result = run('readelf', '-d', library)
    needed = re.findall(r'\(NEEDED\).*\[(.*)\]', result.stdout)
    check(bool(needed) and all(ALLOWED.match(n) for n in needed),
          'needs only the C library: ' + ' '.join(needed), result.stderr)


def check_declared(library, headers):
    """Whatever a header declares is there to be linked."""
    names = run('nm', '-D', '--defined-only', library).stdout.split()
    for header in headers:
        text = re.sub(r'/\*.*?\*/', '', header.read_text(), flags=re.S)
        declared = re.findall(r'\b(?:AG|NN)_API\b[^;(]*?\b((?:ag|nn)_\w+)\s*\(', text)
        missing = [n for n in declared if n not in names]
        check(not missing, f'{header.name}: {len(declared)} functions declared and defined',
              'not defined: ' + ' '.join(missing))


def check_headers(headers):
    c = os.environ.get('CC', 'cc').split()[0]
    languages = [(c, 'c', '-std=c11'), ('g++', 'c++', '-std=c++17'), ('clang++', 'c++', '-std=c++17')]
    for compiler, language, standard in languages:
        if not shutil.which(compiler):
            print(f'skip  no {compiler}')
            continue
        flags = [standard, '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fsyntax-only', f'-I{SOURCE}', '-x', language]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, 'alone')
            for header in headers:
                name = header.relative_to(SOURCE)
                file.write_text(f'#include "{name}"\n#include "{name}"\n')
                result = run(compiler, *flags, file)
                check(result.returncode == 0, f'{name} with {compiler} {standard}', result.stderr)


CXX = '''
#include "autograd/autograd.h"

#include <cmath>

int main()
{
    ag_tape *tape = ag_tape_new(AG_F64);
    const double values[] = {1, 2, 3, 4, 5, 6};
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(2, 3), values);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3, 1));
    ag_tensor y = ag_sum_axes(ag_matmul(x, w), AG_AXES(0, -1), false);
    ag_tensor zero = ag_full(tape, AG_SCALAR, 0.0);
    bool ok = ag_backward(ag_add(y, zero)) && std::fabs(ag_data_f64(ag_gradient(w))[1] - 7.0) < 1e-12;
    ag_tape_free(tape);
    return ok ? 0 : 1;
}
'''


def check_cxx(library):
    if not shutil.which('g++'):
        print('skip  no g++')
        return
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, 'tiny.cpp'), pathlib.Path(folder, 'tiny')
        source.write_text(CXX)
        result = run('g++', '-std=c++17', '-Wall', '-Wextra', '-Wpedantic', '-Werror', f'-I{SOURCE}', source,
                     '-o', program, library, f'-Wl,-rpath,{library.parent}', '-Wl,--allow-shlib-undefined')
        check(result.returncode == 0, 'a C++ program compiles and links', result.stderr)
        needed = run('readelf', '-d', library).stdout
        if result.returncode == 0 and 'san.so' not in needed and '__asan_init' not in run('nm', '-D', library).stdout:
            check(run(program).returncode == 0, 'and runs')


def main():
    library = pathlib.Path(sys.argv[1]).resolve()
    headers = [h for h in [SOURCE / 'autograd' / 'autograd.h', SOURCE / 'autograd' / 'rng.h',
                           *sorted((SOURCE / 'nn').glob('*.h'))]
               if 'internal' not in h.name]
    check_exports(library)
    check_needed(library)
    check_declared(library, headers)
    check_headers(headers)
    check_cxx(library)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
