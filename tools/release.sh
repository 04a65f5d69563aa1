#!/usr/bin/env bash
# Builds sdist and wheel, checks them, and tries the wheel without the checkout:
# tools/release.sh PYTHON [ENVIRONMENT]
# ENVIRONMENT: try it with its packages instead of fetching all of them.
# Nothing is uploaded: the last line says how.
set -euo pipefail

python=$1
packages_of=${2:+$(cd "$2" && pwd)}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(espnet_plugin s3prl_upstream)

fail() { echo "release: error: $*" >&2; exit 1; }
say() { echo "release: $*"; }

[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed (git status)"
version=$("${python}" -c 'import espnet_plugin; print(espnet_plugin.__version__)')
grep -q "^## \[${version}\] - " CHANGELOG.md || fail "CHANGELOG.md has no section [${version}]"
grep -q "^version: ${version}$" CITATION.cff || fail "CITATION.cff has another version than ${version}"

case $("${python}" -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
    3.10|3.11) constraints=$(pwd)/constraints/py311.txt;;
    *) constraints=$(pwd)/constraints/py313.txt;;
esac
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH  # the checkout must not be seen

work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT

say "building ${version}"
"${python}" -m venv "${work}/tools"
"${python}" - > "${work}/requirements" << 'END'
import configparser

setup = configparser.ConfigParser()
setup.read("setup.cfg")
print(setup["options.extras_require"]["release"])
END
"${work}/tools/bin/python" -m pip install -q -r "${work}/requirements"
rm -rf dist
"${work}/tools/bin/python" -m build --outdir dist . > "${work}/log" 2>&1 \
    || { tail -n 40 "${work}/log"; fail "python -m build"; }
"${work}/tools/bin/python" -m twine check --strict dist/*
wheel=$(echo dist/*.whl)
sdist=$(echo dist/*.tar.gz)

# every file under version control, and nothing else
tracked=${work}/tracked
git ls-files "${packages[@]}" | LC_ALL=C sort > "${tracked}"
"${python}" -m zipfile -l "${wheel}" | awk 'NR > 1 { print $1 }' > "${work}/in_wheel"
grep -v '^[^/]*\.dist-info/' "${work}/in_wheel" | LC_ALL=C sort | diff "${tracked}" - \
    || fail "${wheel} holds other files than git"
tar -tzf "${sdist}" | sed 's,^[^/]*/,,' > "${work}/in_sdist"
grep -E '^(espnet_plugin|s3prl_upstream)/.*[^/]$' "${work}/in_sdist" | LC_ALL=C sort | diff "${tracked}" - \
    || fail "${sdist} holds other files than git"
grep -q '\.dist-info/.*LICENSE$' "${work}/in_wheel" || fail "${wheel} has no licence"
top=$(cut -d / -f 1 "${work}/in_wheel" | LC_ALL=C sort -u | tr '\n' ' ')
[ "${top}" = "espnet_plugin s3prl_upstream speechclip_plus-${version}.dist-info " ] || fail "${wheel} installs ${top}"
for file in LICENSE README.md CHANGELOG.md CITATION.cff; do
    grep -qx "${file}" "${work}/in_sdist" || fail "${sdist} has no ${file}"
done

# the tests and README, whose Python is run, without the packages: they use the wheel's
mkdir "${work}/tests_only"
git archive HEAD tests benchmarks pyproject.toml README.md egs2/speechclip_plus/local egs2/speechclip_plus/models | tar -x -C "${work}/tests_only"

"${python}" -m venv "${work}/venv"
if [ -n "${packages_of}" ]; then
    say "trying ${wheel} with the packages of ${packages_of}"
    # before the others can be seen, among which pip may find this version
    "${work}/venv/bin/python" -m pip install -q --no-deps "${wheel}"
    where='import sysconfig; print(sysconfig.get_path("purelib"))'
    # a path alone: an editable installation there stays out of sight
    "${packages_of}/bin/python" -c "${where}" > "$("${work}/venv/bin/python" -c "${where}")/others.pth"
else
    say "installing ${wheel} into a fresh environment; this fetches PyTorch and ESPnet"
    "${work}/venv/bin/python" -m pip install -q -c "${constraints}" "${wheel}[demo,parts,s3prl]" pytest
fi
cd "${work}/tests_only"
installed=$("${work}/venv/bin/python" -c 'import espnet_plugin as e, sys; print(e.__version__, e.__file__.startswith(sys.prefix))')
[ "${installed}" = "${version} True" ] || fail "the environment has another installation: ${installed}"
# hubconf.py is in the checkout only
"${work}/venv/bin/python" -m pytest -q -p no:cacheprovider -m "not slow" -k "not project_directory" tests/test_readme.py tests/espnet_plugin/inference/test_speechclip.py \
    tests/espnet_plugin/bin/test_speechclip.py tests/s3prl_upstream/test_register.py \
    || fail "the installed wheel does not work"

say "${version} is ready: ${wheel} and ${sdist}. To publish it: git tag v${version}, twine upload dist/*"
