/**
 * Run as `python -c`: what an interpreter has. argv: names of packages to import, names whose version is enough.
 * The report is the last line of stdout: imports may print.
 */
export const probeScript = `
import importlib, importlib.metadata, json, sys, sysconfig

def look(name, imported):
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"version": None, "error": None}
    try:
        if imported:
            importlib.import_module(name.replace("-", "_"))
    except BaseException as error:
        return {"version": version, "error": f"{type(error).__name__}: {error}"}
    return {"version": version, "error": None}

def device():
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "version"):
        return None
    cuda = torch.cuda.is_available()
    return {
        "cuda": cuda,
        "cudaBuild": torch.version.cuda,
        "mps": torch.backends.mps.is_available(),
        "name": torch.cuda.get_device_name(0) if cuda else None,
    }

imported, listed = json.loads(sys.argv[1]), json.loads(sys.argv[2])
packages = {name: look(name, True) for name in imported} | {name: look(name, False) for name in listed}
print("\\n" + json.dumps({
    "version": ".".join(str(part) for part in sys.version_info[:3]),
    "purelib": sysconfig.get_paths()["purelib"],
    "packages": packages,
    "device": device(),
}))
`;
