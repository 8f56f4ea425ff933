// Every word of the page, in each language. The keys are those of data-word in index.html and of word() in page.js.
export const WORDS = {
  en: {
    skip: "Skip to the studies", storeChoice: "Store", language: "Language", token: "This archive asks for a bearer token", enter: "Enter",
    connect: "Connect", aet: "AE title", dimse: "DIMSE port", web: "DICOMweb", send: "Send a folder with DCMTK",
    sendOwn: "Or with Sagittal itself", copy: "Copy", copied: "Copied", held: "Held here", studies: "studies",
    series: "series", instances: "instances", stored: "stored", latest: "Latest studies", date: "Date",
    patient: "Patient", patientId: "Patient ID", description: "Description", modalities: "Modalities",
    instancesColumn: "Instances", picture: "Picture", thumbnail: "Thumbnail of the study",
    empty: "Nothing yet. Send something with the line above.", api: "REST API", metrics: "Metrics",
    readiness: "Readiness", ready: "Ready", notReady: "Not ready", away: "No connection to the archive",
    refused: "The token is not accepted", folder: "FOLDER",
    rules: "Transcoding rules", transcoded: "objects transcoded since the start", untranscoded: "left as they came",
    notDurable: "Durability is off: what is stored now may be lost when this machine stops.",
  },
  es: {
    skip: "Ir a los estudios", storeChoice: "Almacén", language: "Idioma", token: "Este archivo pide un token de acceso", enter: "Entrar",
    connect: "Conectar", aet: "Título AE", dimse: "Puerto DIMSE", web: "DICOMweb", send: "Enviar una carpeta con DCMTK",
    sendOwn: "O con el propio Sagittal", copy: "Copiar", copied: "Copiado", held: "Guardado aquí", studies: "estudios",
    series: "series", instances: "instancias", stored: "almacenados", latest: "Últimos estudios", date: "Fecha",
    patient: "Paciente", patientId: "ID del paciente", description: "Descripción", modalities: "Modalidades",
    instancesColumn: "Instancias", picture: "Imagen", thumbnail: "Miniatura del estudio",
    empty: "Todavía nada. Envíe algo con la línea de arriba.", api: "API REST", metrics: "Métricas",
    readiness: "Disponibilidad", ready: "Listo", notReady: "No disponible", away: "Sin conexión con el archivo",
    refused: "El token no es válido", folder: "CARPETA",
    rules: "Reglas de transcodificación", transcoded: "objetos transcodificados desde el arranque", untranscoded: "sin poder transcodificarse",
    notDurable: "Durabilidad desactivada: lo que se guarde ahora puede perderse si esta máquina se detiene.",
  },
};
