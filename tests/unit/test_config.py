"""The settings: where they come from, what is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sagittal import config
from sagittal.cli.data.config import command
from sagittal.config.checks import boolean
from sagittal.config.making import limit_parts, limits_with, setting_names
from sagittal.config.settings import Settings
from sagittal.errors import UsageError
from sagittal.limits import Limits


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in setting_names():
        monkeypatch.delenv(config.ENVIRONMENT + name.upper().replace(".", "__"), raising=False)


def test_defaults():
    settings = config.load()
    assert (settings.aet, settings.dimse.port, settings.web.port) == ("SAGITTAL", 11112, 8042)
    assert settings.loopback and settings.limits == Limits()


def test_later_wins(tmp_path, monkeypatch):
    file = tmp_path / "s.toml"
    file.write_text(
        'aet = "A"\nhost = "::1"\nnodes = ["N@localhost:104"]\n[dimse]\nport = 1\n[limits]\ndepth_max = 7\n'
    )
    monkeypatch.setenv("SAGITTAL_DIMSE__PORT", "2")
    monkeypatch.setenv("SAGITTAL_AET", "B")
    monkeypatch.setenv("SAGITTAL_LIMITS__ARTIM_SECONDS", "3")
    monkeypatch.setenv("SAGITTAL_WEB__HOSTS", "one,two")
    settings = config.load(file, {"aet": "C", "web": {"port": 0}, "nodes": ["M@[::1]:105"]})
    assert (settings.aet, settings.host, settings.dimse.port, settings.web.port) == ("C", "::1", 2, 0)
    assert (settings.limits.reader.depth_max, settings.limits.net.artim_seconds) == (7, 3.0)
    assert settings.web.hosts == ("one", "two")
    assert [(node.aet, node.host, node.port) for node in settings.nodes] == [("N", "localhost", 104), ("M", "::1", 105)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dimse": {"prot": 4}}, "did you mean dimse.port"),
        ({"duplicate": "refuse"}, "did you mean duplicates"),
        ({"limits": {"depth_mx": 4}}, "did you mean limits.depth_max"),
        ({"limits": {"depth_max": "many"}}, "limits.depth_max: a whole number from 0 is wanted, not 'many'"),
        ({"host": ""}, "host: '' is no name and no address of a host"),
        ({"limits": {"query_threads": 0}}, "limits: query_threads is at least 1"),
        ({"limits": {"depth_max": -1}}, "limits.depth_max"),
        ({"limits": {"depth_max": 1.5}}, "limits.depth_max: a whole number"),
        ({"limits": {"depth_max": float("inf")}}, "limits.depth_max: a whole number"),
        ({"limits": {"artim_seconds": float("nan")}}, "limits.artim_seconds: a number from 0 is wanted, not nan"),
        ({"dimse": {"port": 104.7}}, "dimse.port: a whole number"),
        ({"dimse": {"prefer": ["jpeg"]}}, "dimse.prefer: 'jpeg' is not the UID of a transfer syntax"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "verbs": ["fly"]}]}, "nodes[0].verbs: unknown verb 'fly'"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "syntax_order": ["x"]}]}, "nodes: A: 'x' is not the UID"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "timezone": "1"}]}, "nodes[0].timezone: '1' is not an offset"),
        ({"tokens": [{"name": "a", "sha256": "0" * 64, "verbs": ["fly"]}]}, "tokens[0].verbs: unknown verb 'fly'"),
        ({"web": {"hosts": ["pacs:8042"]}}, "web.hosts: 'pacs:8042' is not the name of a host alone"),
        ({"web": {"hosts": ["https://pacs"]}}, "web.hosts: 'https://pacs' is not the name"),
        ({"web": {"origins": ["viewer.example"]}}, "web.origins: 'viewer.example' is not an origin"),
        (
            {"web": {"origins": ["https://viewer.example/a"]}},
            "web.origins: 'https://viewer.example/a' is not an origin",
        ),
        ({"web": {"public_url": "pacs.example"}}, "web.public_url: 'pacs.example' is not a URL"),
        ({"web": {"public_url": "https://pacs:x"}}, "web.public_url"),
        ({"web": {"public_url": "ftp://pacs"}}, "web.public_url"),
        ({"web": {"public_url": "https://pacs?a=1"}}, "web.public_url"),
        ({"web": {"public_url": "https://pacs#a"}}, "web.public_url"),
        ({"web": {"hosts": ["a..b"]}}, "web.hosts: 'a..b' is no name"),
        ({"timezone": "1", "aet": ""}, "timezone: '1' is not an offset .*; aet: '' is not"),
        ({"character_set": "KLINGON"}, "character_set: 'KLINGON' is not a defined term"),
        ({"index": {"attributes": ["KVPP"]}}, "index.attributes: 'KVPP' is not an attribute"),
        ({"nodes": ["nowhere"]}, "AET@host:port"),
        ({"nodes": ["A@h:1", "B@h:1", "A@h:1", "A@h:2"]}, "nodes: A is there twice"),
        ({"nodes": [{"aet": "A", "host": "h"}]}, "port: is missing"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "pot": 2}]}, "unknown setting nodes[0].pot"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "addresses": ["10.0.0.1/8"]}]}, "host bits"),
        ({"dimse": {"called_aets": ["GOOD", "b\\ad"]}}, "AE title"),
        ({"dimse": {"user_identity": "maybe"}}, "not one of optional required"),
        ({"aet": "x" * 17}, "AE title"),
        ({"aet": "a\\b"}, "AE title"),
        ({"aet": " A"}, "aet: ' A' is not an AE title"),
        ({"nodes": [{"aet": "A", "host": "a..b", "port": 1}]}, "nodes[0].host: 'a..b' is no name"),
        ({"aet": 5}, "text is wanted"),
        ({"web": {"port": 65536}}, "not a port"),
        ({"web": {"port": True}}, "a whole number"),
        ({"web": {"port": 8042.5}}, "a whole number"),
        ({"data": ""}, "data: a path is wanted"),
        ({"data": "a\0b"}, "data: a path is wanted"),
        ({"data": "~nobody-of-this-name/a"}, "data: "),
        ({"web": 5}, "a table is wanted"),
        ({"web": {"trusted_proxies": ["10.0.0.0/8", "10.0.0.1/8"]}}, "web.trusted_proxies: 10.0.0.1/8 has host bits"),
        ({"durability": "some"}, "not one of full off"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "duplicates": "both"}]}, "nodes[0].duplicates: 'both' is not"),
        ({"tokens": [{"name": "a", "sha256": "zz"}]}, "SHA-256"),
        ({"nodes": [{"aet": "A", "host": "h", "port": 1, "tls": "perhaps"}]}, "true or false"),
    ],
)
def test_what_is_refused(given, told):
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        config.load(None, given)


@pytest.mark.parametrize("told", ["yes", "True", "1", True, "no", "FALSE", "0", False])
def test_true_and_false(told):
    assert boolean("tls", told) == (str(told) in ("yes", "True", "1"))


def test_names_of_the_host():
    web = {"hosts": ["Pacs.Example", "[2001:db8::1]"], "origins": ["https://Viewer.example:8443/", "http://[::1]"]}
    given = config.load(
        None, {"web": web | {"public_url": "https://Front.example:8443/pacs"}, "limits": {"workers": 2.0}}
    )
    assert given.web.names == {"pacs.example", "[2001:db8::1]", "front.example"}
    assert given.limits.workers.workers == 2


def test_every_fault_is_told():
    with pytest.raises(UsageError, match=r"aet.*durability"):
        config.load(None, {"aet": "", "durability": ""})


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        config.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("aet =")
    with pytest.raises(UsageError, match="not TOML"):
        config.load(tmp_path / "bad.toml")


def test_a_file_of_another_system(tmp_path):
    """Editors of Windows mark UTF-8, and end lines in their way."""
    (tmp_path / "windows.toml").write_bytes(b'\xef\xbb\xbfaet = "WINDOWS"\r\n[dimse]\r\nport = 104\r\n')
    settings = config.load(tmp_path / "windows.toml")
    assert (settings.aet, settings.dimse.port) == ("WINDOWS", 104)


def test_every_limit_has_a_name():
    parts = [getattr(Limits(), part.name) for part in dataclasses.fields(Limits)]
    assert sum(map(len, limit_parts().values())) == sum(len(dataclasses.fields(part)) for part in parts)
    changed = limits_with({"send_stall_seconds_max": 5})
    assert changed.net.send_stall_seconds_max == changed.web.send_stall_seconds_max == 5


def test_errors_name_limits_as_the_configuration_does():
    """`[limits]` is one flat list: who reads `(limits.parts_max)` can set it by that name."""
    named = set()
    for module in Path(config.__file__).parents[1].rglob("*.py"):
        for text in re.findall(r"""["'].*?["']""", module.read_text(encoding="utf-8")):
            named |= set(re.findall(r"\blimits\.([a-z_.]*[a-z])(?![a-z_(\[{])", text))
    assert len(named) > 20
    assert named - {"py"} <= limit_parts().keys()  # the module has this name, too


@pytest.mark.parametrize("value", ["0.0.0.0", "192.0.2.1", "::", "archive.example"])
def test_what_is_not_loopback(value):
    assert not config.load(None, {"host": value}).loopback


def test_variables_that_are_no_settings_are_told(monkeypatch):
    for name in ("SAGITTAL_DIMSE_PORT", "SAGITTAL_DIMSE__PORT", "SAGITTAL_TOKEN", "SAGITTAL_USER"):
        monkeypatch.setenv(name, "1")
    assert config.passed_over() == ["SAGITTAL_DIMSE_PORT is not a setting; did you mean SAGITTAL_DIMSE__PORT?"]


def test_a_variable_that_leads_into_a_table_is_a_setting(monkeypatch):
    monkeypatch.setenv("SAGITTAL_PORT", "tcp://10.0.0.11:8042")  # Kubernetes sets it for a service named sagittal
    assert config.load() == Settings()
    monkeypatch.setenv("SAGITTAL_DIMSE__PROT", "104")
    with pytest.raises(UsageError, match="unknown setting SAGITTAL_DIMSE__PROT; did you mean SAGITTAL_DIMSE__PORT"):
        config.load()


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.load().aet = "X"  # type: ignore[misc]


def test_paths():
    assert config.load(None, {"data": "x"}).data == Path("x")


def test_the_home_is_meant_as_in_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "s.toml").write_text('data = "~/pacs"\n')
    assert config.load(tmp_path / "s.toml").data == tmp_path / "pacs"
    assert config.load(overrides={"data": Path("~/pacs")}).data == Path("~/pacs")  # the shell has had its turn


def test_what_is_shown_is_a_settings_file(tmp_path):
    """`config show` of what is set in every way gives it again; tokens are shown without their digests, so not read."""
    file, shown = tmp_path / "s.toml", tmp_path / "shown.toml"
    file.write_text(
        'aet = "A"\ntimezone = "+0100"\nnodes = ["N@localhost:104"]\n[dimse]\ntls_key = "é.pem"\n'
        '[limits]\ndepth_max = 7\n[stores.research]\ncalled_aets = ["R"]\n'
        f'[[transcode]]\nto = "1.2.840.10008.1.2.4.80"\n[[tokens]]\nname = "t"\nsha256 = "{"0" * 64}"\n'
    )
    ran = CliRunner().invoke(command, ["show", "--config", str(file)], catch_exceptions=False)
    shown.write_text(ran.stdout)
    assert config.load(shown) == dataclasses.replace(config.load(file), tokens=())
    assert '# tokens = [{name = "t"' in ran.stdout
