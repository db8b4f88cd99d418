"""Image references and the Dockerfile scan, as tables."""

from __future__ import annotations

import pytest

from ipytilt.core.images import dockerfile_references, exact_ones, familiar, image_id, matches, parse

HEX = "0" * 64


@pytest.mark.parametrize(
    "text, normal, short",
    [
        ("img", "docker.io/library/img", "img"),
        ("img:v1", "docker.io/library/img:v1", "img:v1"),
        ("a/b", "docker.io/a/b", "a/b"),
        ("docker.io/library/img", "docker.io/library/img", "img"),
        ("index.docker.io/img", "docker.io/library/img", "img"),
        ("docker.io/a/b:t", "docker.io/a/b:t", "a/b:t"),
        ("gcr.io/x/img", "gcr.io/x/img", "gcr.io/x/img"),
        ("localhost/img", "localhost/img", "localhost/img"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("Upper/img", "Upper/img", "Upper/img"),
        ("a__b/c-d.e_f", "docker.io/a__b/c-d.e_f", "a__b/c-d.e_f"),
        (f"img@sha256:{HEX}", f"docker.io/library/img@sha256:{HEX}", f"img@sha256:{HEX}"),
        (f"img:t@sha256:{HEX}", f"docker.io/library/img:t@sha256:{HEX}", f"img:t@sha256:{HEX}"),
        ("library/img", "docker.io/library/img", "img"),
    ],
)
def test_normal_and_familiar_form(text: str, normal: str, short: str) -> None:
    assert str(parse(text)) == normal
    assert parse(text).familiar == short
    assert parse(short) == parse(text)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "invalid reference format"),
        ("IMG", "repository name (library/IMG) must be lowercase"),
        ("a b", "invalid reference format"),
        ("img:", "invalid reference format"),
        ("img:a b", "invalid reference format"),
        ("img!", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("img@sha256:12", "invalid reference format"),
        ("img@", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a" * 256, "must not be more than 255 characters"),
        (HEX, "cannot specify 64-byte hexadecimal strings"),
        ("${X}", "invalid reference format"),
    ],
)
def test_what_is_no_reference(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"invalid|255") as caught:
        parse(text)
    assert problem in str(caught.value)


def test_names_that_are_no_references_stay_as_they_are() -> None:
    assert [familiar("docker.io/library/a"), familiar("Not One")] == ["a", "Not One"]
    assert image_id("gcr.io/x/img%1") == "gcr.io_x_img_1"


@pytest.mark.parametrize(
    "builds, used, found",
    [
        (["img"], "img:v9", "img"),
        (["img"], f"img@sha256:{HEX}", "img"),
        (["img:v1"], "img", None),
        (["img:latest"], "img", None),
        (["img:v1"], "img:v1", "img:v1"),
        (["img:v1", "img:v2"], "img:v2", "img:v2"),
        (["img", "img:b"], "img:c", None),
        (["img", "img:b"], "img", "img"),
        (["docker.io/library/img"], "img", "img"),
        (["a/img"], "img", None),
    ],
)
def test_which_build_provides_a_reference(builds: list[str], used: str, found: str | None) -> None:
    declared = [parse(text) for text in builds]
    hits = [
        b.familiar
        for b, exact in zip(declared, exact_ones(declared), strict=True)
        if matches(b, parse(used), exact=exact)
    ]
    assert hits == ([found] if found else [])


@pytest.mark.parametrize(
    "text, args, found",
    [
        ("", {}, ()),
        ("FROM a\nCOPY x y", {}, ("a",)),
        ("from a as b\nCOPY --from=b --chown=1 x y\nFROM --platform=linux/arm64 c", {}, ("a", "b", "c")),
        ("ARG B=one\nFROM ${B}", {}, ("one",)),
        ("ARG B=one\nFROM $B", {"B": "two"}, ("two",)),
        ("FROM $B\nARG B=one", {}, ("",)),
        ("FROM ${B:-x}:${T:+y}", {}, ("x:",)),
        ("ARG B\nFROM ${B:-x}", {"B": "two"}, ("two",)),
        ('ARG B="one" C=\'two\'\nFROM "$C"', {}, ("two",)),
        ("# c\n\nFROM \\\n  # in between\n  a\n", {}, ("a",)),
        ("# escape=`\nFROM `\n a\nRUN dir c:\\\nFROM b", {}, ("a", "b")),
        ("FROM a\nRUN <<EOF\nFROM inside\nEOF\nFROM b", {}, ("a", "b")),
        ("FROM a\nRUN --mount=from=b x\nCOPY . --from=c", {}, ("a",)),
        ("\ufeffFROM\ta", {}, ("a",)),
        ("WHAT is this\nFROM a", {}, ("a",)),
        ("FROM", {}, ()),
    ],
)
def test_dockerfile_scan(text: str, args: dict[str, str], found: tuple[str, ...]) -> None:
    assert dockerfile_references(text, args) == found


def test_a_dockerfile_without_instructions() -> None:
    with pytest.raises(ValueError, match="file with no instructions"):
        dockerfile_references("# only\n\n", {})
