"""Write the Java classes of Polaris' API that are published nowhere, so that its published service can be built.

    python api.py FOLDER SDK.whl JAR...

Maven Central has the jars of Polaris' core and service. The third part, which Polaris generates from its OpenAPI
documents, is not there: the classes of the JSON bodies, the interfaces that the service implements, and the routes
that lead to them. Their names, fields and methods are in the jars, which call them; paths and parameters of the
routes are in the Python SDK, which Polaris generates from the same documents. No class here decides anything.
"""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODEL = "org/apache/polaris/core/admin/model/"
_GENERATED = re.compile(
    r"org/apache/polaris/(?:core/admin/model|service/types|service/[a-z]+/api)/\w+(?:\$[A-Za-z]+)?"
)
_JACKSON = "com.fasterxml.jackson.annotation."
_RS = "jakarta.ws.rs."
_VERSIONED = "properties createTimestamp lastUpdateTimestamp entityVersion"
# Constructors have no names of parameters in a jar.
_CONSTRUCTORS = {
    "CatalogGrant": "privilege type", "NamespaceGrant": "namespace privilege type",
    "TableGrant": "namespace tableName privilege type", "ViewGrant": "namespace viewName privilege type",
    "PolicyGrant": "namespace policyName privilege type", "CatalogRole": f"name {_VERSIONED}",
    "PrincipalRole": f"name federated {_VERSIONED}", "Principal": f"name clientId {_VERSIONED}",
    "CatalogRoles": "roles", "Catalogs": "catalogs", "GrantResources": "grants", "PrincipalRoles": "roles",
    "Principals": "principals", "PrincipalWithCredentials": "principal credentials",
    "PrincipalWithCredentialsCredentials": "clientId clientSecret", "ResetPrincipalRequest": "clientId clientSecret",
}  # fmt: skip
_ELEMENTS = {
    "CatalogRoles": "CatalogRole", "Catalogs": "Catalog", "GrantResources": "GrantResource",
    "PrincipalRoles": "PrincipalRole", "Principals": "Principal",
}  # fmt: skip
# Of the classes with subclasses: the field that tells which, and the subclass for each value.
_KINDS = {
    "Catalog": ("type", {"INTERNAL": "PolarisCatalog", "EXTERNAL": "ExternalCatalog"}),
    "StorageConfigInfo": ("storageType", {
        "S3": "AwsStorageConfigInfo", "AZURE": "AzureStorageConfigInfo", "GCS": "GcpStorageConfigInfo",
        "FILE": "FileStorageConfigInfo",
    }),
    "GrantResource": ("type", {
        "catalog": "CatalogGrant", "namespace": "NamespaceGrant", "table": "TableGrant", "view": "ViewGrant",
        "policy": "PolicyGrant",
    }),
    "ConnectionConfigInfo": ("connectionType", {
        "ICEBERG_REST": "IcebergRestConnectionConfigInfo", "HADOOP": "HadoopConnectionConfigInfo",
        "HIVE": "HiveConnectionConfigInfo",
    }),
    "AuthenticationParameters": ("authenticationType", {
        "OAUTH": "OAuthClientCredentialsParameters", "BEARER": "BearerAuthenticationParameters",
        "IMPLICIT": "ImplicitAuthenticationParameters", "SIGV4": "SigV4AuthenticationParameters",
    }),
    "ServiceIdentityInfo": ("identityType", {"AWS_IAM": "AwsIamServiceIdentityInfo"}),
}  # fmt: skip
_PARENTS = {child: parent for parent, (_, kinds) in _KINDS.items() for child in kinds.values()}
# Interface: the class that implements it, the module of the SDK with its routes, and the prefix of their paths.
_MANAGEMENT = ("service/admin/PolarisServiceImpl", "management/api/polaris_default_api.py", "/api/management/v1")
_CATALOG = "/api/catalog"
_SERVICES = {
    "PolarisCatalogsApiService": _MANAGEMENT,
    "PolarisPrincipalsApiService": _MANAGEMENT,
    "PolarisPrincipalRolesApiService": _MANAGEMENT,
    "IcebergRestCatalogApiService": (
        "service/catalog/iceberg/IcebergRestCatalogEventServiceDelegator", "catalog/api/iceberg_catalog_api.py",
        _CATALOG,
    ),
    "IcebergRestConfigurationApiService": (
        "service/catalog/iceberg/IcebergRestConfigurationEventServiceDelegator",
        "catalog/api/iceberg_configuration_api.py", _CATALOG,
    ),
    "IcebergRestOAuth2ApiService": (
        "service/auth/internal/service/DefaultOAuth2ApiService", "catalog/api/iceberg_o_auth2_api.py", _CATALOG,
    ),
    "PolarisCatalogGenericTableApiService": (
        "service/catalog/generic/GenericTableCatalogAdapter", "catalog/api/generic_table_api.py", _CATALOG,
    ),
    "PolarisCatalogPolicyApiService": (
        "service/catalog/policy/PolicyCatalogAdapter", "catalog/api/policy_api.py", _CATALOG,
    ),
}  # fmt: skip
_COMMIT = """@com.fasterxml.jackson.databind.annotation.JsonDeserialize(using = NAME.Reader.class)
public record NAME(org.apache.iceberg.rest.requests.UpdateTableRequest request) {
  public org.apache.iceberg.catalog.TableIdentifier identifier() { return request.identifier(); }
  public java.util.List<org.apache.iceberg.UpdateRequirement> requirements() { return request.requirements(); }
  public java.util.List<org.apache.iceberg.MetadataUpdate> updates() { return request.updates(); }
  public static class Reader extends com.fasterxml.jackson.databind.JsonDeserializer<NAME> {
    @Override public NAME deserialize(
        com.fasterxml.jackson.core.JsonParser parser, com.fasterxml.jackson.databind.DeserializationContext context)
        throws java.io.IOException {
      com.fasterxml.jackson.databind.JsonNode node = parser.getCodec().readTree(parser);
      return new NAME(org.apache.iceberg.rest.requests.UpdateTableRequestParser.fromJson(node)); } } }
"""
# Classes of no general form.
_SPECIAL = {
    "CommitTableRequest": _COMMIT.replace("NAME", "CommitTableRequest"),
    "CommitViewRequest": _COMMIT.replace("NAME", "CommitViewRequest"),
    "CatalogProperties": """import com.fasterxml.jackson.annotation.*; import java.util.*;
public class CatalogProperties { @JsonIgnore private final Map<String, String> all = new HashMap<>();
  @JsonAnySetter public void set(String key, String value) { all.put(key, value); }
  @JsonAnyGetter public Map<String, String> toMap() { return all; }
  @JsonIgnore public String getDefaultBaseLocation() { return all.get("default-base-location"); }
  public static Builder builder(String location) { return new Builder(location); }
  public static class Builder { private final CatalogProperties made = new CatalogProperties();
    Builder(String location) { made.set("default-base-location", location); }
    public Builder putAll(Map<String, String> more) { made.all.putAll(more); return this; }
    public CatalogProperties build() { return made; } } }
""",
    "PolicyIdentifier": """import org.apache.iceberg.catalog.Namespace;
public record PolicyIdentifier(Namespace namespace, String name) {
  public static PolicyIdentifierBuilder builder() { return new PolicyIdentifierBuilder(); } }
""",
    "PolicyIdentifierBuilder": """import org.apache.iceberg.catalog.Namespace;
public class PolicyIdentifierBuilder { private Namespace namespace; private String name;
  public PolicyIdentifierBuilder namespace(Namespace value) { namespace = value; return this; }
  public PolicyIdentifierBuilder name(String value) { name = value; return this; }
  public PolicyIdentifier build() { return new PolicyIdentifier(namespace, name); } }
""",
    "TokenType": """public enum TokenType {
  ACCESS_TOKEN("access_token"), REFRESH_TOKEN("refresh_token"), ID_TOKEN("id_token"), SAML1("saml1"), SAML2("saml2"),
  JWT("jwt");
  private final String value;
  TokenType(String name) { value = "urn:ietf:params:oauth:token-type:" + name; }
  @com.fasterxml.jackson.annotation.JsonValue public String getValue() { return value; }
  public static TokenType fromString(String text) {
    for (TokenType type : values()) if (type.value.equals(text)) return type;
    throw new IllegalArgumentException(text); } }
""",
    "NotificationType": "public enum NotificationType { UNKNOWN, CREATE, UPDATE, DROP, VALIDATE }\n",
}


@dataclass
class Jars:
    """What is in jars: the public methods of each class, and the members of each class that are called."""

    methods: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    calls: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    mentioned: set[str] = field(default_factory=set)

    def read(self, path: str) -> None:
        """Add a jar."""
        with zipfile.ZipFile(path) as jar:
            for name in jar.namelist():
                if name.endswith(".class"):
                    self._read_class(name.removesuffix(".class"), jar.read(name))

    def _read_class(self, name: str, data: bytes) -> None:
        # https://docs.oracle.com/javase/specs/jvms/se21/html/jvms-4.html
        pool: dict[int, tuple[int, ...] | str] = {}
        count, at, index = _short(data, 8), 10, 1
        while index < count:
            tag = data[at]
            if tag == 1:
                end = at + 3 + _short(data, at + 1)
                pool[index], at = data[at + 3 : end].decode("utf-8", "replace"), end
            elif tag in (7, 8, 15, 16, 19, 20):
                pool[index], at = (tag, _short(data, at + 1)), at + (4 if tag == 15 else 3)
            elif tag in (5, 6):
                # These take two places.
                at, index = at + 9, index + 1
            else:
                pool[index], at = (tag, _short(data, at + 1), _short(data, at + 3)), at + 5
            index += 1

        def text(number: int) -> str:
            found = pool[number]
            return found if isinstance(found, str) else text(found[1])

        for entry in pool.values():
            if isinstance(entry, str):
                self.mentioned.update(_GENERATED.findall(entry))
            elif entry[0] in (9, 10, 11):
                member = pool[entry[2]]
                assert isinstance(member, tuple)
                self.calls[text(entry[1])].add((text(member[1]), text(member[2])))
        at += 8 + 2 * _short(data, at + 6)
        _, at = _members(data, at)
        methods, _ = _members(data, at)
        self.methods[name] = [(text(n), text(d)) for access, n, d in methods if access & 1 and not access & 0x1008]

    def missing(self) -> set[str]:
        """The classes that Polaris generates and that no jar has."""
        return {
            name for name in {*self.mentioned, *filter(_GENERATED.fullmatch, self.calls)} if name not in self.methods
        }


def _short(data: bytes, at: int) -> int:
    found: int = struct.unpack_from(">H", data, at)[0]
    return found


def _members(data: bytes, at: int) -> tuple[list[tuple[int, int, int]], int]:
    """Access flags, name and descriptor of the fields or methods that begin at a place, and where they end."""
    count, at = _short(data, at), at + 2
    found = []
    for _ in range(count):
        found.append((_short(data, at), _short(data, at + 2), _short(data, at + 4)))
        attributes, at = _short(data, at + 6), at + 8
        for _ in range(attributes):
            at += 6 + int(struct.unpack_from(">I", data, at + 2)[0])
    return found, at


def _types(descriptor: str) -> tuple[list[str], str]:
    """The types of parameters and result of a descriptor, as Java writes them."""
    parameters, result = descriptor[1:].split(")")
    return [_java(each) for each in re.findall(r"\[*(?:L[^;]+;|[A-Z])", parameters)], _java(result)


def _java(name: str) -> str:
    if name.startswith("["):
        return f"{_java(name[1:])}[]"
    if name.startswith("L"):
        return name[1:-1].replace("/", ".").replace("$", ".")
    return {"Z": "boolean", "I": "int", "J": "long", "V": "void"}[name]


def _small(name: str) -> str:
    return name[0].lower() + name[1:]


def _large(name: str) -> str:
    return name[0].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Writer:
    """Writes the sources into a folder."""

    def __init__(self, folder: Path, sdk: zipfile.ZipFile, jars: Jars) -> None:
        self.folder, self.sdk, self.jars = folder, sdk, jars

    def write(self) -> None:
        """Write all classes that are missing."""
        missing = self.jars.missing()
        for name in sorted({each.partition("$")[0] for each in missing}):
            simple = name.rpartition("/")[2]
            if simple in _SERVICES:
                self._write_service(name, simple)
            elif simple in _SPECIAL:
                self._put(name, _SPECIAL[simple])
            elif simple.endswith("Privilege"):
                values = re.findall(r"^    \w+ = '(\w+)'", self._sdk(f"management/models/{_snake(simple)}.py"), re.M)
                self._put(name, f"public enum {simple} {{ {', '.join(values)} }}\n")
            else:
                enum = next((each for each in missing if re.fullmatch(rf"{name}\$\w+Enum", each)), "")
                self._put(name, "".join(self._model(name, simple, enum)))

    def _sdk(self, module: str) -> str:
        return self.sdk.read(f"apache_polaris/sdk/{module}").decode()

    def _put(self, name: str, body: str) -> None:
        path = self.folder / f"{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {name.rpartition('/')[0].replace('/', '.')};\n{body}")

    def _fields(self, name: str, simple: str, enum: str) -> dict[str, str]:
        """The fields of a JSON body with their types: what is read, what a builder sets, what a constructor takes."""
        found: dict[str, str] = {}
        for method, descriptor in sorted(self.jars.calls[name]):
            if method.startswith("get"):
                found[_small(method[3:])] = _types(descriptor)[1]
        for method, descriptor in sorted(self.jars.calls[f"{name}$Builder"]):
            if method.startswith("set"):
                found[_small(method[3:])] = _types(descriptor)[0][0]
        found |= self._constructor(name, simple)
        if simple in _KINDS and enum:
            found[_KINDS[simple][0]] = _java(f"L{enum};")
        general = {"java.util.List": "<String>", "java.util.Map": "<String, String>", "java.util.Set": "<?>"}
        return {key: kind + general.get(kind, "") for key, kind in found.items()}

    def _constructor(self, name: str, simple: str) -> dict[str, str]:
        known = (
            descriptor for method, descriptor in self.jars.calls[name] if method == "<init>" and descriptor != "()V"
        )
        types = _types(next(known, "()V"))[0]
        if simple in _ELEMENTS:
            types = [f"java.util.List<{_ELEMENTS[simple]}>"]
        return dict(zip(_CONSTRUCTORS[simple].split(), types, strict=True)) if types else {}

    def _model(self, name: str, simple: str, enum: str) -> Iterator[str]:
        """The class of a JSON body."""
        fields, parent = self._fields(name, simple, enum), _PARENTS.get(simple)
        inherited = {_KINDS[parent][0]} if parent else set()
        if parent:
            inherited |= {_small(each[3:]) for each, _ in self.jars.calls[MODEL + parent] if each.startswith("get")}
        yield f"import {_JACKSON}*;\n@JsonInclude(JsonInclude.Include.NON_NULL)\n"
        yield "@JsonIgnoreProperties(ignoreUnknown = true)\n"
        yield "@JsonAutoDetect(getterVisibility = JsonAutoDetect.Visibility.NONE)\n"
        if simple in _KINDS:
            key, kinds = _KINDS[simple]
            types = ", ".join(
                f'@JsonSubTypes.Type(value = {kind}.class, name = "{value}")' for value, kind in kinds.items()
            )
            yield "@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, include = JsonTypeInfo.As.EXISTING_PROPERTY, "
            yield f'property = "{key}", visible = true)\n@JsonSubTypes({{{types}}})\n'
        yield f"public class {simple}{f' extends {parent}' if parent else ''} {{\n  public {simple}() {{}}\n"
        for key, kind in fields.items():
            if key not in inherited:
                default = " = new java.util.HashMap<>()" if "Map<" in kind else ""
                yield f'  @JsonProperty("{key}") protected {kind} {key}{default};\n'
            yield f"  public {kind} get{_large(key)}() {{ return {key}; }}\n"
        if taken := self._constructor(name, simple):
            parameters = ", ".join(f"{fields[key]} {key}" for key in taken)
            body = " ".join(f"if ({key} != null) this.{key} = {key};" for key in taken)
            yield f"  public {simple}({parameters}) {{ {body} }}\n"
        if f"{name}$Builder" in self.jars.mentioned:
            yield "  public static Builder builder() { return new Builder(); }\n  public static class Builder {\n"
            yield f"    private final {simple} made = new {simple}();\n"
            yield f"    public {simple} build() {{ return made; }}\n"
            for key, kind in fields.items():
                yield f"    public Builder set{_large(key)}({kind} value) {{ made.{key} = value; return this; }}\n"
            yield "  }\n"
        if enum:
            short = enum.rpartition("$")[2]
            values = [*_KINDS[simple][1]] if simple in _KINDS else ["catalog", "namespace", "table-like"]
            constants = ", ".join(f'{value.upper().replace("-", "_")}("{value}")' for value in values)
            yield f"  public enum {short} {{ {constants}; private final String value;\n"
            yield f"    {short}(String value) {{ this.value = value; }}\n"
            yield "    @JsonValue public String getValue() { return value; } }\n"
        yield "}\n"

    def _write_service(self, name: str, simple: str) -> None:
        """An interface that the service implements, and the routes that lead to it."""
        implementation, module, prefix = _SERVICES[simple]
        methods = [
            each
            for each in self.jars.methods[f"org/apache/polaris/{implementation}"]
            if each[1].endswith(")Ljakarta/ws/rs/core/Response;")
            and (prefix == _CATALOG or each in self.jars.calls[name])
        ]
        declared = ""
        for method, descriptor in methods:
            parameters = ", ".join(f"{kind} p{number}" for number, kind in enumerate(_types(descriptor)[0]))
            declared += f"  {_RS}core.Response {method}({parameters});\n"
        self._put(name, f"public interface {simple} {{\n{declared}}}\n")
        api = simple.removesuffix("Service")
        text = self._sdk(module)
        routes = "".join(_route(method, _types(descriptor)[0], text) for method, descriptor in methods)
        injected = f"@jakarta.inject.Inject {simple} service;"
        injected += " @jakarta.inject.Inject org.apache.polaris.core.context.RealmContext realm;"
        head = (
            f'@{_RS}Path("{prefix}") @jakarta.enterprise.context.RequestScoped\npublic class {api} {{\n  {injected}\n'
        )
        self._put(name.removesuffix("Service"), f"{head}{routes}}}\n")


def _route(method: str, types: Sequence[str], sdk: str) -> str:
    """A method that a path leads to; nothing for a method whose path the SDK does not have."""
    found = re.search(rf"def _{_snake(method)}_serialize\(.*?resource_path='([^']+)'", sdk, re.DOTALL)
    if not found:
        return ""
    block, path = found.group(0), found.group(1)
    (verb,) = re.findall(r"method='(\w+)'", block)
    places = _places(block)
    names = [
        each for each in re.findall(r"^        (\w+),$", block.partition("_request_auth")[0], re.M) if each != "self"
    ]
    if method == "getToken":
        # Not in the SDK: the header that a client may send instead of its id and secret.
        names, places = ["authorization", *names], {**places, "authorization": f'{_RS}HeaderParam("Authorization")'}
    # The last two are the realm and who asks.
    parameters = [
        f"@{places[name]} {kind} {name}" if name in places else f"{kind} {name}"
        for name, kind in zip(names, types[:-2], strict=True)
    ]
    takes = ""
    if any("RestForm" in each for each in parameters):
        takes = f'@{_RS}Consumes("application/x-www-form-urlencoded") '
    elif not all(each.startswith("@") for each in parameters):
        takes = f'@{_RS}Consumes("application/json") '
    who = (
        '@jakarta.annotation.security.RolesAllowed("**")'
        if method != "getToken"
        else "@jakarta.annotation.security.PermitAll"
    )
    security = f"@{_RS}core.Context {_RS}core.SecurityContext security"
    return (
        f'  @{_RS}{verb} @{_RS}Path("{path}") @{_RS}Produces("application/json") {takes}{who}\n'
        f"  public {_RS}core.Response {method}({', '.join([*parameters, security])}) {{\n"
        f"    return service.{method}({', '.join([*names, 'realm', 'security'])}); }}\n"
    )


def _places(block: str) -> Mapping[str, str]:
    """Where each parameter of a request is, as an annotation; those of none of these places are its body."""
    found = {}
    for pattern, annotation in (
        (r"_path_params\['([^']+)'\] = (\w+)", f"{_RS}PathParam"),
        (r"_query_params\.append\(\('([^']+)', (\w+)", f"{_RS}QueryParam"),
        (r"_header_params\['([^']+)'\] = (\w+)", f"{_RS}HeaderParam"),
        (r"_form_params\.append\(\('([^']+)', (\w+)", "org.jboss.resteasy.reactive.RestForm"),
    ):
        found.update({name: f'{annotation}("{key}")' for key, name in re.findall(pattern, block)})
    return found


def main(folder: str, sdk: str, *paths: str) -> None:
    jars = Jars()
    for path in paths:
        jars.read(path)
    with zipfile.ZipFile(sdk) as package:
        Writer(Path(folder), package, jars).write()


if __name__ == "__main__":
    main(*sys.argv[1:])
